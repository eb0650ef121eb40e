import RocketMQBase
import RocketMQProtocol

/// Chooses the queue of a message. Messages of one queue are consumed in the order in which they were stored, so a selector
/// that depends on a key alone keeps order within the key.
///
/// Called on the client's event loop for every message: it must be quick and must not block.
public protocol MessageQueueSelector: Sendable {
    /// `queues` is not empty, and in the same order in every client. The result should be one of them.
    func select(from queues: [MessageQueue], for message: Message, using random: inout RandomSource) -> MessageQueue
}

/// By the hash of a key: the same key, the same queue, as long as the number of queues stays. Agrees with the Java client's
/// `SelectMessageQueueByHash` for strings and for integers that are not negative.
public struct SelectMessageQueueByHash: MessageQueueSelector {
    private let hash: Int32

    public init(key: String) { hash = JavaHash.hash(key) }

    /// As Java's `Long`.
    public init(key: Int64) { hash = Int32(truncatingIfNeeded: key ^ Int64(bitPattern: UInt64(bitPattern: key) >> 32)) }

    public func select(from queues: [MessageQueue], for message: Message, using random: inout RandomSource) -> MessageQueue {
        queues[Int((Int64(hash) % Int64(queues.count)).magnitude)]
    }
}

/// Any queue.
public struct SelectMessageQueueByRandom: MessageQueueSelector {
    public init() {}

    public func select(from queues: [MessageQueue], for message: Message, using random: inout RandomSource) -> MessageQueue {
        queues[Int.random(in: queues.indices, using: &random)]
    }
}

/// Any queue of a broker in one of these machine rooms; any at all when there is none there. The part of a broker's name
/// before `@` is its room, as in the consumers' allocation by machine room: `room1@broker-a`.
public struct SelectMessageQueueByMachineRoom: MessageQueueSelector {
    private let rooms: Set<String>

    public init(_ rooms: Set<String>) { self.rooms = rooms }

    public func select(from queues: [MessageQueue], for message: Message, using random: inout RandomSource) -> MessageQueue {
        let near = queues.filter { queue in
            queue.brokerName.firstIndex(of: "@").map { rooms.contains(String(queue.brokerName[..<$0])) } ?? false
        }
        let candidates = near.isEmpty ? queues : near
        return candidates[Int.random(in: candidates.indices, using: &random)]
    }
}

/// A closure as a selector.
struct ClosureSelector: MessageQueueSelector {
    let choose: @Sendable ([MessageQueue], Message) -> MessageQueue

    func select(from queues: [MessageQueue], for message: Message, using random: inout RandomSource) -> MessageQueue {
        choose(queues, message)
    }
}

extension MessageQueueSelector where Self == SelectMessageQueueByHash {
    public static func hash(of key: String) -> Self { SelectMessageQueueByHash(key: key) }
    public static func hash(of key: some BinaryInteger) -> Self { SelectMessageQueueByHash(key: Int64(truncatingIfNeeded: key)) }
}

extension MessageQueueSelector where Self == SelectMessageQueueByRandom {
    public static var random: Self { SelectMessageQueueByRandom() }
}

extension MessageQueueSelector where Self == SelectMessageQueueByMachineRoom {
    public static func machineRoom(_ rooms: String...) -> Self { SelectMessageQueueByMachineRoom(Set(rooms)) }
}
