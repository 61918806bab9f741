"""Fourteen published systems as recipes: short files that compose the book's methods on the book's world."""
