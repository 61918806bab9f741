"""Chapter 08: hindsight relabelling, in the grid, on sums and on stories, and what it is worth."""
