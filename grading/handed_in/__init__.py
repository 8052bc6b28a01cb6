"""What students hand in: folders, zips and flat files, found and read as the hostile things that they may be."""
