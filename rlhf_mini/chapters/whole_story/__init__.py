"""Chapter 00, the whole story in one sitting."""
