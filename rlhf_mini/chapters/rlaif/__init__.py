"""Chapter 10, RLAIF and constitutional AI."""
