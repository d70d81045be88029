"""Tests of the benches' arithmetic at small sizes, never of their speed."""
