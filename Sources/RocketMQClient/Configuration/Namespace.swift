import RocketMQProtocol

/// A part of a cluster that several tenants share: names of topics and groups in it are `namespace%name` on the wire, and
/// plain to the program. As the Java client's `namespace`. Pure.
struct Namespace: Sendable, Equatable {
    private static let separator: Character = "%"
    /// Consumer groups that belong to the system are in no namespace.
    private static let systemGroupPrefix = "CID_RMQ_SYS_"

    /// Empty for none.
    let name: String

    init(_ name: String?) { self.name = name ?? "" }

    var isNone: Bool { name.isEmpty }
    private var prefix: String { name + String(Self.separator) }

    /// The name on the wire of a topic or group. What is in the namespace already, or belongs to the system, stays as it is.
    func wrap(_ resource: String) -> String {
        guard !isNone, !resource.isEmpty, !Self.isSystem(resource) else { return resource }
        let (kind, plain) = Self.split(resource)
        return plain.hasPrefix(prefix) ? resource : kind + prefix + plain
    }

    /// The name to the program; names of other namespaces stay as they are.
    func unwrap(_ resource: String) -> String {
        guard !isNone else { return resource }
        let (kind, plain) = Self.split(resource)
        return plain.hasPrefix(prefix) ? kind + plain.dropFirst(prefix.count) : resource
    }

    func wrap(_ queue: MessageQueue) -> MessageQueue { mapping(queue, wrap) }
    func unwrap(_ queue: MessageQueue) -> MessageQueue { mapping(queue, unwrap) }

    private func mapping(_ queue: MessageQueue, _ change: (String) -> String) -> MessageQueue {
        guard !isNone else { return queue }
        var queue = queue
        queue.topic = change(queue.topic)
        return queue
    }

    private static func isSystem(_ resource: String) -> Bool { SystemTopic.contains(resource) || resource.hasPrefix(systemGroupPrefix) }

    /// `%RETRY%` or `%DLQ%`, and the rest.
    private static func split(_ resource: String) -> (kind: String, plain: Substring) {
        for kind in [SystemTopic.retryPrefix, SystemTopic.deadLetterPrefix] where resource.hasPrefix(kind) {
            return (kind, resource.dropFirst(kind.count))
        }
        return ("", resource[...])
    }
}
