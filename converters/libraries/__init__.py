"""What converters must know of the libraries that they call: errors in one line, and patches."""
