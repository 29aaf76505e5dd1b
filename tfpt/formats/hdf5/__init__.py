"""HDF5: files of the usual kind are parsed here, others by the HDF5 library in a process with limits.

The library trusts a file's lengths, counts and links. A damaged or forged file makes it loop, allocate all memory or
crash. So it never runs on a file in this process.
"""
