import RocketMQBase
import RocketMQClient
import RocketMQProtocol
import RocketMQSystem

/// Of an answer what measurements want to know.
struct RawAnswer {
    var code: Int32
    var offset: Int64?
    var queueOffset: Int64?
    var nextBeginOffset: Int64?
    var messageID: String?
    var remark: String?

    var isSuccess: Bool { code == 0 }
    var failure: RawFailure { RawFailure(description: "code \(code): \(remark ?? "")") }
}

/// A connection on which each request has its own continuation. Belongs to its loop.
final class CallConnection: RawConnection {
    /// Takes an answer and its body.
    typealias Then = (RawAnswer, RawSpan) -> Void
    private var calls: [Then?] = []
    private var free: [Int] = []

    /// The number under which `then` is called.
    func slot(_ then: @escaping Then) -> Int {
        if let slot = free.popLast() {
            calls[slot] = then
            return slot
        }
        calls.append(then)
        return calls.count - 1
    }

    func call(_ code: RequestCode, _ fields: [String: String], isOneway: Bool = false, _ then: @escaping Then = { _, _ in }) {
        var request = RemotingCommand.request(code, fields)
        if isOneway { request.flag |= FrameFormat.onewayFlag } else { request.opaque = SendTemplate.opaque(ofSlot: slot(then)) }
        request.encode(into: &stream.output)
        stream.flushLater()
    }

    override func answered(_ header: borrowing HeaderTable, _ frame: RawSpan) {
        let slot = SendTemplate.slot(ofOpaque: header.opaque)
        guard calls.indices.contains(slot), let then = calls[slot] else { return end("the broker answered what was not asked") }
        calls[slot] = nil
        free.append(slot)
        var answer = RawAnswer(code: header.code)
        if header.code != 0 { answer.remark = header.remark(in: frame) }
        if let index = header.index(of: "offset", in: frame) { answer.offset = header.integer(index, in: frame) }
        if let index = header.index(of: "queueOffset", in: frame) { answer.queueOffset = header.integer(index, in: frame) }
        if let index = header.index(of: "nextBeginOffset", in: frame) { answer.nextBeginOffset = header.integer(index, in: frame) }
        if let index = header.index(of: "msgId", in: frame) { answer.messageID = header.text(index, in: frame) }
        then(answer, frame.extracting(header.bodyRange))
    }

    /// Makes `count` connections; `completion` is called once, with the reason when one could not be made.
    static func connect(
        _ count: Int, to address: String, on loop: EpollLoop, _ recorder: Recorder,
        _ completion: @escaping (Result<[CallConnection], RawFailure>) -> Void
    ) {
        var made: [CallConnection] = []
        var (left, failure): (Int, RawFailure?) = (count, nil)
        for _ in 0..<count {
            loop.connect(to: address, timeout: .seconds(5)) { result in
                switch result {
                case .failure(let error): failure = RawFailure(description: error.description)
                case .success(let stream):
                    let connection = CallConnection(stream: stream, recorder: recorder)
                    stream.handler = connection
                    made.append(connection)
                }
                left -= 1
                if left == 0 { completion(failure.map { .failure($0) } ?? .success(made)) }
            }
        }
    }
}
