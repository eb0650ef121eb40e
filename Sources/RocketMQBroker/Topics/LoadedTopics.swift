import RocketMQBase
import RocketMQProtocol

/// What a start makes of `topics.json`: a table that is written well may still say what cannot be, by hand or by accident.
enum LoadedTopics {
    /// - Parameter queues: how many queues of a topic there are files of.
    /// - Returns: the table without what cannot be stored and with numbers that can be, and a line for each change.
    static func repaired(
        _ loaded: TopicConfigSerializeWrapper, queues: (String) -> Int32
    ) -> (table: TopicConfigSerializeWrapper, notes: [String]) {
        var table = loaded
        var notes: [String] = []
        table.topicConfigTable = [:]
        for (name, found) in loaded.topicConfigTable.sorted(by: { $0.key < $1.key }) {
            guard isStorable(name) else {
                notes.append("topic \"\(printable(name))\" has a name that no directory can have, it is left out")
                continue
            }
            var config = found
            if config.topicName != name {
                notes.append("topic \(name) calls itself \"\(printable(config.topicName))\", the first is taken")
                config.topicName = name
            }
            let possible = max(queues(name), 1)
            func repair(_ count: inout Int32, _ what: String) {
                guard !(0...TopicHandler.mostQueues).contains(count) else { return }
                notes.append("topic \(name) has \(what) \(count), outside 0...\(TopicHandler.mostQueues): it gets \(possible)")
                count = possible
            }
            repair(&config.readQueueNums, "readQueueNums")
            repair(&config.writeQueueNums, "writeQueueNums")
            if !(0...7).contains(config.perm.rawValue) {
                notes.append("topic \(name) has perm \(config.perm.rawValue), outside 0...7: it gets 6, to read and to write")
                config.perm = .readWrite
            }
            table.topicConfigTable[name] = config
        }
        return (table, notes)
    }

    private static func isStorable(_ name: String) -> Bool {
        !name.isEmpty && name.utf8.count <= 255 && name != "." && name != ".." && !name.utf8.contains { $0 < 0x20 || $0 == 0x2F }
    }

    private static func printable(_ name: String) -> String {
        String(name.unicodeScalars.prefix(80).map { $0.value < 0x20 ? "?" : Character($0) })
    }
}
