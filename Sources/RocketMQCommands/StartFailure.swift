import RocketMQBase
import RocketMQNameServer

/// Why a program cannot start, for the one who started it: what is wrong, and what to do.
public struct StartFailure: Error, Sendable, Equatable, CustomStringConvertible {
    public var description: String

    public init(_ description: String) { self.description = description }

    /// An address that cannot be listened on; `portSetting` says where the port is set.
    public init(_ error: TransportError, portSetting: String) {
        let port = error.address.split(separator: ":").last ?? ""
        var text = "cannot listen on \(error.address): \(error.reason)"
        switch error.code {
        case .addressInUse:
            text += "; another program has port \(port) (it may be another instance; 'ss -ltnp sport = :\(port)' shows which):"
            text += " stop it, or set another \(portSetting)"
        case .noPermission:
            text += "; ports below 1024 need a privilege: set another \(portSetting)"
        default:
            text += "; set another bindAddress, or another \(portSetting)"
        }
        description = text
    }

    public init(_ error: NameServerError, portSetting: String) {
        switch error {
        case .cannotListen(let cause): self.init(cause, portSetting: portSetting)
        case .unreadableKeyValues: self.init(error.description)
        }
    }
}

/// What could not be stored as a server stopped, for the one who stopped it: what is wrong, and what it means.
public struct StopFailure: Error, Sendable, Equatable, CustomStringConvertible {
    public var description: String

    public init(_ description: String) { self.description = description }
}
