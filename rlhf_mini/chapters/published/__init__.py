"""Chapter 13: fourteen published recipes, run, judged and compared."""
