"""The parts that the web servers of lenext share: headers, the address that they listen at, and the files of their pages."""
