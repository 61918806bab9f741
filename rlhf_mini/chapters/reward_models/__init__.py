"""What chapter 04 measures: reward models from pairs, rankings and ratings, and the people who judge."""
