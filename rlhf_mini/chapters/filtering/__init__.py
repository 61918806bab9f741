"""Chapter 09, ReST and its relatives."""
