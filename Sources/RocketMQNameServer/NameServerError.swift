import RocketMQBase

/// Why a name server could not start.
public enum NameServerError: Error, Sendable, Equatable, CustomStringConvertible {
    case cannotListen(TransportError)
    /// The file of the key-value configuration is there and cannot be used; going on would overwrite it.
    case unreadableKeyValues(path: String, reason: String)

    public var description: String {
        switch self {
        case .cannotListen(let error): "cannot listen on \(error.address): \(error.reason)"
        case .unreadableKeyValues(let path, let reason):
            "cannot read the key-value configuration \(path): \(reason); repair the file, or move it away to start without"
        }
    }
}
