internal import CSystemd
internal import Glibc

/// The memory of this process.
public enum ProcessMemory {
    /// Makes the allocator return freed blocks of more than `bytes` to the kernel. By default glibc raises that
    /// threshold to the size of the first such block, up to 32 MiB: mallopt(3), M_MMAP_THRESHOLD.
    public static func returnBlocks(above bytes: Int32) {
        // Fails only for a threshold out of range.
        _ = mallopt(M_MMAP_THRESHOLD, bytes)
    }

    /// Releases the pages of the program's code and read-only data, much of which was needed only at the start. The
    /// kernel reads them again from its page cache when needed: madvise(2), MADV_DONTNEED.
    public static func releaseProgram() {
        let page = UInt(getpagesize())
        // getauxval(3), elf(5): where the kernel has put the program headers, and what they say of the segments.
        let place = getauxval(UInt(AT_PHDR))
        let headers = unsafe UnsafeBufferPointer(
            start: UnsafePointer<Elf64_Phdr>(bitPattern: place),
            count: Int(getauxval(UInt(AT_PHNUM)))
        )
        guard let own = unsafe headers.first(where: { $0.p_type == PT_PHDR }) else { return }
        for index in headers.indices {
            let header = unsafe headers[index]
            guard header.p_type == PT_LOAD, header.p_flags & UInt32(PF_W) == 0 else { continue }
            let begin = place - UInt(own.p_vaddr) + UInt(header.p_vaddr)
            let end = begin + UInt(header.p_memsz)
            // A failure changes nothing.
            _ = unsafe madvise(
                UnsafeMutableRawPointer(bitPattern: begin / page * page),
                Int(end - begin / page * page),
                MADV_DONTNEED
            )
        }
    }
}
