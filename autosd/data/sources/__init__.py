"""autosd.data.sources: one file for each kind of data set, found by itself."""
