import CLZ4
import RocketMQBase

/// LZ4 frames, as Java's LZ4FrameOutputStream writes them.
enum LZ4Frame {
    static func compress(_ bytes: RawSpan, level: Int32) throws(CompressionError) -> [UInt8] {
        var preferences = LZ4F_preferences_t()
        preferences.frameInfo.contentSize = UInt64(bytes.byteCount)
        preferences.compressionLevel = level
        var output = [UInt8](repeating: 0, count: LZ4F_compressFrameBound(bytes.byteCount, &preferences))
        let size = bytes.withUnsafeBytes { source in
            output.withUnsafeMutableBytes { target in
                LZ4F_compressFrame(target.baseAddress, target.count, source.baseAddress, source.count, &preferences)
            }
        }
        guard LZ4F_isError(size) == 0 else { throw CompressionError(.failed, .lz4, String(cString: LZ4F_getErrorName(size))) }
        output.removeLast(output.count - size)
        return output
    }

    static func decompress(_ bytes: RawSpan, limit: Int) throws(CompressionError) -> [UInt8] {
        var context: OpaquePointer?
        guard LZ4F_isError(LZ4F_createDecompressionContext(&context, UInt32(LZ4F_VERSION))) == 0, let context else {
            throw CompressionError(.failed, .lz4, "a decompressor could not be set up")
        }
        defer { LZ4F_freeDecompressionContext(context) }
        var output = BoundedOutput(startingWith: bytes.byteCount * 4 + 64, limit: limit)
        var consumed = 0
        while true {
            let hasRoom = output.makeRoom()
            var taken = 0
            var written = 0
            let status = bytes.withUnsafeBytes { source in
                taken = source.count - consumed
                let start = source.baseAddress.map { $0 + consumed }
                guard hasRoom else {
                    var spare: UInt8 = 0
                    written = 1
                    return LZ4F_decompress(context, &spare, &written, start, &taken, nil)
                }
                return output.fill { room in
                    written = room.count
                    let status = LZ4F_decompress(context, room.baseAddress, &written, start, &taken, nil)
                    if LZ4F_isError(status) != 0 { written = 0 }
                    return (written, status)
                }
            }
            guard LZ4F_isError(status) == 0 else {
                throw CompressionError(.corrupt, .lz4, String(cString: LZ4F_getErrorName(status)))
            }
            consumed += taken
            if !hasRoom, written > 0 { throw CompressionType.lz4.tooLarge(limit) }
            if status == 0 { return output.finish() }
            guard written > 0 || taken > 0 else {
                throw CompressionError(.corrupt, .lz4, "the frame is cut off after \(consumed) bytes")
            }
        }
    }
}
