"""The parts that the web servers share: headers, the address that they listen at, and the files of their pages."""
