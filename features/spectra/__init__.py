"""Spectra and what is read from them: lines, envelopes, combs, gear mesh, averages, evidence."""
