"""The steps of axiswatch: acquire, extract, train, score, advise. Only this package has side effects."""
