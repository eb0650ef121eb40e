import RocketMQBase
import RocketMQProtocol

/// Cuts the bytes of a stream into frames.
enum FrameReader {
    enum Next {
        /// A whole frame without its length word is at `4..<4 + length`.
        case frame(length: Int)
        case incomplete
        /// The bytes cannot be a frame: the stream is lost.
        case malformed(String)
    }

    /// Looks for a frame at `start` of what was received.
    static func next(in bytes: RawSpan, at start: Int) -> Next {
        guard bytes.byteCount - start >= 4 else { return .incomplete }
        let length = Int(bytes.bigEndian(Int32.self, at: start))
        guard length >= 4, length <= FrameFormat.mostBytes else {
            return .malformed(describe(length, bytes.extracting(start..<(start + 4))))
        }
        return bytes.byteCount - start >= 4 + length ? .frame(length: length) : .incomplete
    }

    private static func describe(_ length: Int, _ bytes: RawSpan) -> String {
        if bytes.byte(at: 0) == 0x16 { return "the peer began TLS, which this server does not offer; connect without TLS" }
        if bytes.equals(0..<4, "GET ") || bytes.equals(0..<4, "POST") || bytes.equals(0..<4, "HEAD") {
            return "the peer speaks HTTP; this port speaks the RocketMQ remoting protocol"
        }
        return "frame length \(length) is outside 4...\(FrameFormat.mostBytes)"
    }
}
