"""Chapter 01: the robot in the grid."""
