"""The passes of the link, one file each; pielink.link calls them in order."""
