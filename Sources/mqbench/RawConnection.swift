import RocketMQBase
import RocketMQProtocol

/// A connection that speaks frames and nothing else: what is measured through it is the broker, not a client. Belongs to its loop.
class RawConnection: ByteStreamHandler {
    let stream: ByteStream
    let recorder: Recorder
    private var header = HeaderTable()
    /// Set when the connection ended, with the reason.
    private(set) var ended: String?

    init(stream: ByteStream, recorder: Recorder) {
        self.stream = stream
        self.recorder = recorder
    }

    /// An answer came: its header, which is scanned, and its frame.
    func answered(_ header: borrowing HeaderTable, _ frame: RawSpan) {}

    final func received(on stream: ByteStream) {
        var consumed = 0
        var failure: String?
        stream.input.withBytes { bytes in
            while bytes.byteCount - consumed >= 4 {
                let length = Int(bytes.bigEndian(Int32.self, at: consumed))
                guard length >= 4, length <= FrameFormat.mostBytes else {
                    failure = "an answer of \(length) bytes"
                    return
                }
                guard bytes.byteCount - consumed >= 4 + length else { return }
                let frame = bytes.extracting((consumed + 4)..<(consumed + 4 + length))
                do throws(MalformedBytes) {
                    try header.scan(frame)
                } catch {
                    failure = error.description
                    return
                }
                answered(header, frame)
                consumed += 4 + length
            }
        }
        stream.input.consume(consumed)
        if let failure { end("the broker sent \(failure)") }
        stream.flushLater()
    }

    final func closed(_ stream: ByteStream, reason: String) { end("the connection ended: \(reason)") }

    final func end(_ reason: String) {
        guard ended == nil else { return }
        ended = reason
        recorder.failed(RawFailure(description: reason))
        stream.close()
    }
}

struct RawFailure: Error, CustomStringConvertible { var description: String }

/// Which queues a raw measurement goes over: `queues` of each of `topics` topics.
struct RawQueues: Sendable {
    var topic: String
    var topics: Int
    var queues: Int

    var count: Int { topics * queues }

    /// `topic`, or `topic-00017` when there are several.
    func name(_ index: Int) -> String { topics == 1 ? topic : "\(topic)-\(Self.digits(index, width: 5))" }

    static func digits(_ value: Int, width: Int) -> String {
        let text = String(value)
        return String(repeating: "0", count: max(0, width - text.utf8.count)) + text
    }
}
