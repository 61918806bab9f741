"""Chapter 15, from mini to real."""
