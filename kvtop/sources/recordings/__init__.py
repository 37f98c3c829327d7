"""Recordings: what was measured, tick by tick, in one file. Raw Samples only, so that rules of tomorrow read them too.

    kvtop.recording/1.0 LF                         the first line: name, major and minor version of the format
    kind u8, length u32, crc32 u32, time f64       17 bytes before every record, little endian
    length bytes                                   its payload

`I` says who wrote the file (MessagePack). `M` is one model file (a zstd frame around MessagePack). `K` and `D` are
ticks: a `K` starts a zstd stream, the `D`s after it go on with it, and each is flushed, so that a tick can be read as
soon as it is in the file and a crash costs the tick that was being written. Readers skip kinds they do not know.
"""
