import RocketMQBase
import RocketMQProtocol

/// Pairs of key and value by namespace, which administrators keep at a name server (codes 100, 101, 102 and 219).
public struct KeyValueConfiguration: Equatable, Sendable {
    /// The namespace with the queue order of topics: `broker-a:4;broker-b:4` by topic.
    public static let orderTopics = "ORDER_TOPIC_CONFIG"

    private var namespaces: [String: [String: String]] = [:]

    public init() {}

    public subscript(namespace: String, key: String) -> String? { namespaces[namespace]?[key] }

    /// All pairs of a namespace; `nil` when nothing was ever put into it.
    public subscript(namespace: String) -> [String: String]? { namespaces[namespace] }

    public mutating func put(_ value: String, namespace: String, key: String) { namespaces[namespace, default: [:]][key] = value }

    /// Returns whether there was such a pair. The namespace stays.
    public mutating func remove(namespace: String, key: String) -> Bool { namespaces[namespace]?.removeValue(forKey: key) != nil }

    /// Reads the file as the reference writes it: `{"configTable":{"namespace":{"key":"value"}}}`.
    public init(decoding bytes: [UInt8]) throws(MalformedBytes) {
        guard let table = try JSONValue(parsing: bytes)["configTable"]?.object else {
            throw MalformedBytes("there is no configTable in it")
        }
        for member in table.members {
            guard let namespace = member.key.string, let pairs = member.value.object else {
                throw MalformedBytes("a namespace of the configTable is not an object")
            }
            namespaces[namespace] = [:]
            for pair in pairs.members {
                guard let key = pair.key.string, let value = pair.value.string else {
                    throw MalformedBytes("a value of namespace \(namespace) is not text")
                }
                namespaces[namespace]?[key] = value
            }
        }
    }

    /// The text of the file.
    public func encoded() -> [UInt8] {
        var table = JSONObject()
        for (namespace, pairs) in namespaces.sorted(by: { $0.key < $1.key }) {
            var object = JSONObject()
            for (key, value) in pairs.sorted(by: { $0.key < $1.key }) { object.append(key, .string(value)) }
            table.append(namespace, .object(object))
        }
        var output = ByteBuffer(capacity: 1024)
        (["configTable": .object(table)] as JSONValue).writeIndented(to: &output)
        return output.copyBytes()
    }
}
