internal import CSystemd
internal import Glibc

/// The memory of this process.
public enum ProcessMemory {
    /// Has blocks that are larger than that given back to the kernel when they are freed. Left to itself glibc keeps
    /// them after the first one, up to 32 MiB: mallopt(3), M_MMAP_THRESHOLD.
    public static func returnBlocks(above bytes: Int32) {
        // Fails for a threshold that is out of range alone.
        _ = mallopt(M_MMAP_THRESHOLD, bytes)
    }

    /// Lets go of the program's code and of what else of it is never written to: much of it was there to start. What is
    /// needed comes back by itself from the kernel's cache of the file: madvise(2), MADV_DONTNEED.
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
            // A failure leaves everything as it was.
            _ = unsafe madvise(
                UnsafeMutableRawPointer(bitPattern: begin / page * page),
                Int(end - begin / page * page),
                MADV_DONTNEED
            )
        }
    }
}
