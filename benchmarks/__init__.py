"""Speed and memory, measured: this library, dlt, and a script written by hand, on the same pages."""
