import RocketMQClient
import RocketMQProtocol
import RocketMQRemoting

/// Why a command could not do its work: what failed, for whom, and what to do about it.
///
/// `code` is open: compare with the ones you handle and let the rest fall through.
public struct AdminError: Error, Sendable, CustomStringConvertible {
    public struct Code: RawRepresentable, Hashable, Sendable {
        public let rawValue: String
        public init(rawValue: String) { self.rawValue = rawValue }
    }

    public var code: Code
    /// What failed and for whom.
    public var message: String
    /// What to do next; empty where there is nothing to say.
    public var remedy: String
    /// The server's answer, when there was one.
    public var responseCode: ResponseCode?

    public init(_ code: Code, _ message: String, remedy: String = "", responseCode: ResponseCode? = nil) {
        self.code = code
        self.message = message
        self.remedy = remedy
        self.responseCode = responseCode
    }

    public var description: String { remedy.isEmpty ? message : "\(message); \(remedy)" }
}

extension AdminError.Code {
    /// The command was called in a way that cannot work; exit code 2.
    public static let wrongCall = Self(rawValue: "wrongCall")
    /// No connection, or none any more.
    public static let unreachable = Self(rawValue: "unreachable")
    /// No answer in time. What was asked for may have happened.
    public static let timedOut = Self(rawValue: "timedOut")
    /// The server answered that it does not do it; `responseCode` says why.
    public static let refused = Self(rawValue: "refused")
    /// The answer cannot be read.
    public static let malformedAnswer = Self(rawValue: "malformedAnswer")
    public static let unknownCluster = Self(rawValue: "unknownCluster")
    public static let unknownBroker = Self(rawValue: "unknownBroker")
    public static let unknownTopic = Self(rawValue: "unknownTopic")
    public static let unknownGroup = Self(rawValue: "unknownGroup")
    public static let unknownMessage = Self(rawValue: "unknownMessage")
    /// A message could not be sent.
    public static let notSent = Self(rawValue: "notSent")
    /// What was looked for is not as it should be, and the caller wanted to be told by the exit code.
    public static let somethingWrong = Self(rawValue: "somethingWrong")
    /// Some of the servers did what was asked for, others did not.
    public static let partly = Self(rawValue: "partly")
}

/// A server as errors name it.
public enum AdminServer: Sendable, Hashable, CustomStringConvertible {
    case nameServer(String)
    case broker(String)

    /// `host:port`.
    public var address: String {
        switch self {
        case .nameServer(let address), .broker(let address): address
        }
    }

    public var description: String {
        switch self {
        case .nameServer(let address): "name server \(address)"
        case .broker(let address): "broker \(address)"
        }
    }
}

extension AdminError {
    /// A request without an answer.
    init(_ error: RemotingError, doing action: String, at server: AdminServer) {
        let detail = error.detail.isEmpty ? "" : " (\(error.detail))"
        switch error.code {
        case .connectFailed:
            self.init(.unreachable, "cannot \(action): \(server) cannot be reached\(detail)", remedy: Self.remedyUnreachable(server))
        case .timedOut:
            self.init(
                .timedOut, "cannot \(action): \(server) did not answer in time",
                remedy: "it may have done it all the same: look at its load and log, then try again")
        case .connectionClosed:
            self.init(
                .unreachable, "cannot \(action): \(server) closed the connection before it answered\(detail)",
                remedy: "check that this is the port of a RocketMQ server without TLS, and look at its log")
        case .malformedAnswer:
            self.init(
                .malformedAnswer, "cannot \(action): what \(server) answers cannot be read\(detail)",
                remedy: "check that this is the port of a RocketMQ server")
        case .frameTooLarge, .stopped:
            self.init(.refused, "cannot \(action): \(error.code.rawValue)\(detail)")
        }
    }

    private static func remedyUnreachable(_ server: AdminServer) -> String {
        switch server {
        case .nameServer: "check that it runs (bin/mqnamesrv, or bin/mqall) and that -n or NAMESRV_ADDR names its address"
        case .broker: "check that it runs and that this address, the broker's brokerIP1 and listenPort, can be reached from here"
        }
    }

    /// An answer that is not a success.
    init(_ response: RemotingCommand, doing action: String, at server: AdminServer) {
        let remark = Self.tidy(response.remark)
        let code = response.responseCode
        let said = remark.isEmpty ? "refused with \(code)" : "refused with \(code): \(remark)"
        self.init(.refused, "cannot \(action): \(server) \(said)", remedy: Self.remedy(for: code), responseCode: code)
    }

    private static func remedy(for code: ResponseCode) -> String {
        switch code {
        case .requestCodeNotSupported: "this server's release does not answer this command"
        case .noPermission: "the server's settings or its access control forbid it"
        case .consumerNotOnline: "start a consumer of the group, or see whether it runs: mqadmin consumerConnection"
        case .systemBusy, .flowControl: "the server is overloaded: try again a little later"
        case .serviceNotAvailable: "the broker is shutting down, is a slave, or its disk is full: see its log"
        default: ""
        }
    }

    /// A remark in one line of moderate length, without the reference's pointer to its web page.
    static func tidy(_ remark: String?) -> String {
        guard let remark else { return "" }
        let lines = remark.split(whereSeparator: \.isNewline).filter { !$0.hasPrefix("See http") && !$0.hasPrefix("For more information") }
        return String(lines.joined(separator: " ").prefix(500))
    }
}
