import CZstd
import RocketMQBase

/// Zstandard frames.
enum Zstandard {
    static func compress(_ bytes: RawSpan, level: Int32) throws(CompressionError) -> [UInt8] {
        var output = [UInt8](repeating: 0, count: ZSTD_compressBound(bytes.byteCount))
        let size = bytes.withUnsafeBytes { source in
            output.withUnsafeMutableBytes { target in
                ZSTD_compress(target.baseAddress, target.count, source.baseAddress, source.count, level)
            }
        }
        guard ZSTD_isError(size) == 0 else { throw CompressionError(.failed, .zstd, String(cString: ZSTD_getErrorName(size))) }
        output.removeLast(output.count - size)
        return output
    }

    static func decompress(_ bytes: RawSpan, limit: Int) throws(CompressionError) -> [UInt8] {
        guard let context = ZSTD_createDCtx() else {
            throw CompressionError(.failed, .zstd, "a decompressor could not be set up")
        }
        defer { ZSTD_freeDCtx(context) }
        // A window of 32 MiB serves every level below the "ultra" ones; more would be memory that a few bytes demand.
        ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, 25)
        var output = BoundedOutput(startingWith: bytes.byteCount * 4 + 64, limit: limit)
        var consumed = 0
        while true {
            let hasRoom = output.makeRoom()
            let before = consumed
            var written = 0
            let status = bytes.withUnsafeBytes { source in
                var input = ZSTD_inBuffer(src: source.baseAddress, size: source.count, pos: consumed)
                defer { consumed = input.pos }
                guard hasRoom else {
                    return withUnsafeTemporaryAllocation(byteCount: 1, alignment: 1) { spare in
                        var target = ZSTD_outBuffer(dst: spare.baseAddress, size: 1, pos: 0)
                        let status = ZSTD_decompressStream(context, &target, &input)
                        written = target.pos
                        return status
                    }
                }
                return output.fill { room in
                    var target = ZSTD_outBuffer(dst: room.baseAddress, size: room.count, pos: 0)
                    let status = ZSTD_decompressStream(context, &target, &input)
                    written = target.pos
                    return (written, status)
                }
            }
            guard ZSTD_isError(status) == 0 else {
                throw CompressionError(.corrupt, .zstd, String(cString: ZSTD_getErrorName(status)))
            }
            if !hasRoom, written > 0 { throw CompressionType.zstd.tooLarge(limit) }
            if status == 0 { return output.finish() }
            guard written > 0 || consumed > before else {
                throw CompressionError(.corrupt, .zstd, "the frame is cut off after \(consumed) bytes")
            }
        }
    }
}
