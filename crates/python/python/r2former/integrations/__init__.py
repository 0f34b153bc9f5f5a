"""r2former inside other tools."""
