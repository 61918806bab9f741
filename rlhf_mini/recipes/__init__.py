"""Fourteen published systems as recipes: each a short file that composes the book's methods on the book's world."""
