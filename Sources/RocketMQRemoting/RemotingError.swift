import RocketMQBase
import RocketMQProtocol

/// Why a request got no answer.
public struct RemotingError: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Code: String, Sendable, Equatable {
        case connectFailed = "cannot connect"
        case timedOut = "timed out"
        case connectionClosed = "the connection closed before the answer came"
        case frameTooLarge = "the request is larger than a frame may be"
        case malformedAnswer = "the answer cannot be read"
        case stopped = "this client has been shut down"
    }

    public var code: Code
    /// `host:port` of the peer.
    public var address: String
    public var request: RequestCode?
    /// The system's or the peer's own words.
    public var detail: String

    public init(_ code: Code, address: String, request: RequestCode?, detail: String = "") {
        self.code = code
        self.address = address
        self.request = request
        self.detail = detail
    }

    public var description: String {
        var text = request.map { "\($0) to \(address): " } ?? "\(address): "
        text += code.rawValue
        if !detail.isEmpty { text += ": \(detail)" }
        switch code {
        case .connectFailed: text += "; check that a server runs at this address and that it can be reached from here"
        case .timedOut: text += "; the server is slow or unreachable: try again or raise the time-out"
        default: break
        }
        return text
    }
}
