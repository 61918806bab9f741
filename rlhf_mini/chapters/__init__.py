"""The experiments of the chapters: what a notebook runs and a record repeats over seeds, one package a chapter."""
