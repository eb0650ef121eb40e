import RocketMQBase

/// Why the store refused or failed to do something. The message names the path and the system's reason where there is one,
/// and what may help.
public struct StoreError: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Code: Sendable, Equatable {
        /// The store takes no messages now: disk above its last threshold, an earlier flush failed, or it is closed.
        case notWritable
        /// The record would be larger than the settings, or a file of the log, allow.
        case messageTooLarge
        /// Properties beyond 32,767 bytes, the most that a record's length field can say.
        case propertiesTooLong
        /// A topic that cannot be a directory's name, or one longer than a record can hold.
        case illegalTopic
        /// Another process has the store open.
        case lockedByOther
        /// Files of the store were removed or replaced while it was open.
        case removed
        /// No space left on the disk.
        case noSpace
        /// The disk failed to read or write, or refused permission.
        case disk
        /// The start was left off because the program is to end.
        case interrupted
        /// The files do not fit together, and the store cannot repair them by itself.
        case damaged
    }
    public var code: Code
    public var reason: String

    public init(_ code: Code, _ reason: String) {
        self.code = code
        self.reason = reason
    }

    init(_ cause: FileSystemError) {
        let code: Code =
            switch cause.code {
            case .noSpace: .noSpace
            case .lockedByOther: .lockedByOther
            default: .disk
            }
        self.init(code, cause.remedy.isEmpty ? cause.description : "\(cause.description); \(cause.remedy)")
    }

    public var description: String { reason }
}

/// Runs file system work and turns its errors into the store's.
@inline(__always)
func storing<Result>(_ work: () throws(FileSystemError) -> Result) throws(StoreError) -> Result {
    do { return try work() } catch { throw StoreError(error) }
}
