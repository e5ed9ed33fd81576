"""The steps of axiswatch: acquire, extract, train, score, advise. The only place with side effects."""
