import CZlib
import RocketMQBase

/// zlib streams, as Java's Deflater and Inflater write and read them.
enum Zlib {
    static func compress(_ bytes: RawSpan, level: Int32) throws(CompressionError) -> [UInt8] {
        var size = compressBound(uLong(bytes.byteCount))
        var output = [UInt8](repeating: 0, count: Int(size))
        let status = bytes.withUnsafeBytes { source in
            output.withUnsafeMutableBufferPointer { target in
                compress2(
                    target.baseAddress, &size, source.bindMemory(to: UInt8.self).baseAddress, uLong(source.count), max(0, min(level, 9)))
            }
        }
        guard status == Z_OK else { throw CompressionError(.failed, .zlib, "compress2 returned \(status)") }
        output.removeLast(output.count - Int(size))
        return output
    }

    static func decompress(_ bytes: RawSpan, limit: Int) throws(CompressionError) -> [UInt8] {
        guard bytes.byteCount <= UInt32.max else { throw CompressionError(.limitExceeded, .zlib, "input beyond 4 GiB") }
        var stream = z_stream()
        guard inflateInit_(&stream, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
            throw CompressionError(.failed, .zlib, "inflate could not be set up")
        }
        defer { inflateEnd(&stream) }
        var output = BoundedOutput(startingWith: bytes.byteCount * 4 + 64, limit: limit)
        var consumed = 0
        while true {
            let hasRoom = output.makeRoom()
            var spare: UInt8 = 0
            let before = consumed
            var written = 0
            // The pointers into both ends are set anew for each call, and never used after it.
            let status = bytes.withUnsafeBytes { source in
                stream.next_in = UnsafeMutablePointer(mutating: source.bindMemory(to: UInt8.self).baseAddress.map { $0 + consumed })
                stream.avail_in = UInt32(source.count - consumed)
                defer { consumed = source.count - Int(stream.avail_in) }
                guard hasRoom else {
                    // Full: see whether the stream ends here, or wants one byte more than it may have.
                    return withUnsafeMutablePointer(to: &spare) { room in
                        stream.next_out = room
                        stream.avail_out = 1
                        let status = inflate(&stream, Z_NO_FLUSH)
                        written = 1 - Int(stream.avail_out)
                        return status
                    }
                }
                return output.fill { room in
                    stream.next_out = room.bindMemory(to: UInt8.self).baseAddress
                    stream.avail_out = UInt32(min(room.count, Int(UInt32.max)))
                    let offered = Int(stream.avail_out)
                    let status = inflate(&stream, Z_NO_FLUSH)
                    written = offered - Int(stream.avail_out)
                    return (written, status)
                }
            }
            if !hasRoom, written > 0 { throw CompressionType.zlib.tooLarge(limit) }
            switch status {
            case Z_STREAM_END: return output.finish()
            case Z_OK where written > 0 || consumed > before: continue
            case Z_OK, Z_BUF_ERROR: throw CompressionError(.corrupt, .zlib, "the stream is cut off after \(consumed) bytes")
            case Z_MEM_ERROR: throw CompressionError(.failed, .zlib, "inflate ran out of memory")
            default: throw CompressionError(.corrupt, .zlib, "no zlib stream (inflate returned \(status))")
            }
        }
    }
}
