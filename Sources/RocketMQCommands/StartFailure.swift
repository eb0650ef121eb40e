import RocketMQBase
import RocketMQNameServer

/// Why a program cannot start, for the one who started it: what is wrong, and what to do.
public struct StartFailure: Error, Sendable, Equatable, CustomStringConvertible {
    public var description: String

    public init(_ description: String) { self.description = description }

    /// An address that cannot be listened on; `setting` is where the port is set.
    public init(_ error: TransportError, setting: String) {
        let port = error.address.split(separator: ":").last ?? ""
        var text = "cannot listen on \(error.address): \(error.reason)"
        switch error.code {
        case .addressInUse:
            text += "; another program has port \(port) (it may be another instance; 'ss -ltnp sport = :\(port)' shows which):"
            text += " stop it, or set another \(setting) in a file given with -c"
        case .noPermission:
            text += "; ports below 1024 need a privilege: set another \(setting) in a file given with -c"
        default:
            text += "; set another bindAddress or \(setting) in a file given with -c"
        }
        description = text
    }

    public init(_ error: NameServerError) {
        switch error {
        case .cannotListen(let cause): self.init(cause, setting: NameServerSettings.listenPort.name)
        case .unreadableKeyValues: self.init(error.description)
        }
    }
}
