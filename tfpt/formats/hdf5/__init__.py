"""HDF5: files of the usual kind taken apart here, others by the HDF5 library in a process with limits.

The library believes what a file says of itself: lists that lead back to themselves, lengths, counts. A damaged or
forged file makes it loop, ask for all memory there is, or end the process. So it is never run
on a file in this process.
"""
