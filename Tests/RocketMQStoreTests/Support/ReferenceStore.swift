import Foundation
import RocketMQBase
import RocketMQSystem

/// A store that the reference wrote, unpacked into a directory of its own that goes with this object.
final class ReferenceStore {
    struct Message: Decodable {
        var topic: String
        var queueId: Int32
        var queueOffset: Int64
        var commitLogOffset: Int64
        var storeSize: Int
        var tags: String?
        var keys: String?
        var sysFlag: Int32
        var flag: Int32
        var bodyCRC: Int32
        var bornTimestamp: Int64
        var storeTimestamp: Int64
        var bornHost: String
        var storeHost: String
        var reconsumeTimes: Int32
        var preparedTransactionOffset: Int64
        var msgId: String
    }
    struct Expected: Decodable {
        var queuesMinMax: [String: [Int64]]
        var messages: [Message]
        /// Acknowledged, and not in `messages` nor counted in `queuesMinMax`.
        var sentJustBeforeKill: [Late]?

        func lateCount(_ queue: String) -> Int { (sentJustBeforeKill ?? []).filter { "\($0.topic)-\($0.queueId)" == queue }.count }
    }
    struct Late: Decodable {
        var topic: String
        var queueId: Int32
        var queueOffset: Int64
    }
    /// One of the log; without a topic it is the blank that closes a file.
    struct Record: Decodable {
        var physicalOffset: Int64
        var topic: String?
        var storeTimestamp: Int64?
        var properties: [String: String]?
    }

    let directory: String
    let expected: Expected
    let records: [Record]
    var root: String { directory + "/store" }

    /// - Parameter name: `store-4.9.8` or `store-4.9.8-crash`.
    init(_ name: String) throws {
        directory = NSTemporaryDirectory() + "rocketmq-store-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let archive = Bundle.module.bundlePath + "/Vectors/\(name).tar.gz"
        let tar = Process()
        tar.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        tar.arguments = ["tar", "--no-same-owner", "--strip-components=1", "-xzf", archive, "-C", directory]
        try tar.run()
        tar.waitUntilExit()
        let decoder = JSONDecoder()
        let place = directory
        func contents(_ file: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: place + "/" + file)) }
        expected = try decoder.decode(Expected.self, from: contents("expected.json"))
        records = try decoder.decode([Record].self, from: contents("commitlog.json"))
    }

    deinit { try? FileManager.default.removeItem(atPath: directory) }
}
