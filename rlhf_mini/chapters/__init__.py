"""The chapters' experiments, one package a chapter: what a notebook runs, and a record over seeds repeats."""
