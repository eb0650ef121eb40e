import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQBroker

/// What tools are told of undecided transactions.
@Suite struct TransactionsToolTests {
    private func list(_ scene: TransactionsScene, _ fields: [String: String] = [:]) throws -> UndecidedTransactionReport {
        let answer = try scene.call(scene.client(), .request(.listUndecidedTransactions, fields))
        try #require(answer.responseCode == .success, "\(answer.remark ?? "")")
        return try UndecidedTransactionReport(decoding: answer.body)
    }

    @Test("Each undecided transaction is listed with its id, keys, group, topic, age and questions, the oldest first")
    func listed() throws {
        let scene = try TransactionsScene(["transactionCheckMax": "7"])
        let producer = try scene.producer()
        let first = scene.loop.clock.wallMilliseconds
        _ = try scene.sendHalf(producer, "one", properties: ["KEYS": "order-1 eu", "CHECK_IMMUNITY_TIME_IN_SECONDS": "1"])
        scene.advance(.milliseconds(300))
        let decided = try scene.sendHalf(producer, "two", properties: ["KEYS": "order-2"])
        scene.advance(.milliseconds(300))
        _ = try scene.sendHalf(producer, "three", properties: ["KEYS": "order-3"])
        _ = try scene.end(producer, decided, 8)
        scene.advance(.milliseconds(2500))
        let asked = try scene.takeChecks(producer).count
        #expect(asked > 0)
        let report = try list(scene)
        #expect(report.brokerName == "broker-a" && report.total == 2 && report.mostChecks == 7)
        #expect(report.transactions.map(\.keys) == ["order-1 eu", "order-3"])
        #expect(report.transactions.map(\.transactionID) == ["KEY-one", "KEY-three"])
        #expect(report.transactions.map(\.checks) == [asked, 0], "only the first has an immunity that is over")
        #expect(report.transactions.map { report.time - $0.since } == [3100, 2500] && report.transactions[0].since == first)
        #expect(report.transactions.allSatisfy { $0.topic == "T" && $0.producerGroup == "PG" && $0.producers == 1 })
        let id = try #require(report.transactions.last?.offsetMessageID)
        #expect(
            try scene.messages(SystemTopic.transactionHalf, 0).contains { $0.offsetMessageID == id && $0.properties["KEYS"] == "order-3" })
    }

    @Test("Pages follow each other without a gap, by group if one is named, and say how many there are in all")
    func pages() throws {
        let scene = try TransactionsScene()
        let producer = try scene.producer()
        for number in 0..<10 {
            _ = try scene.sendHalf(producer, "m\(number)", properties: ["PGROUP": number % 2 == 0 ? "even" : "odd"])
            // Some at one moment.
            if number % 3 == 0 { scene.advance(.milliseconds(10)) }
        }
        func all(_ fields: [String: String]) throws -> [String] {
            var (fields, ids): ([String: String], [String]) = (fields, [])
            while true {
                let report = try list(scene, fields)
                #expect(report.total == (fields["producerGroup"] == nil ? 10 : 5))
                guard let last = report.transactions.last else { return ids }
                ids += report.transactions.map(\.transactionID)
                (fields["afterTime"], fields["afterOffset"]) = ("\(last.since)", "\(last.queueOffset)")
            }
        }
        #expect(try all(["count": "3"]) == (0..<10).map { "KEY-m\($0)" })
        #expect(try all(["count": "2", "producerGroup": "odd"]) == [1, 3, 5, 7, 9].map { "KEY-m\($0)" })
        #expect(try list(scene, ["producerGroup": "none"]).transactions.isEmpty)
        for wrong in [["count": "0"], ["count": "257"], ["count": "x"], ["afterTime": "5"]] {
            let answer = try scene.call(scene.client(), .request(.listUndecidedTransactions, wrong))
            #expect(answer.responseCode == .systemError && answer.remark?.isEmpty == false, "\(wrong)")
        }
    }

    @Test("What comes from the disk alone is listed too")
    func fromDisk() throws {
        let scene = try TransactionsScene()
        let producer = try scene.producer()
        for number in 0..<5 { _ = try scene.sendHalf(producer, "m\(number)") }
        scene.files.isHesitant = true
        #expect(try list(scene).transactions.map(\.transactionID) == (0..<5).map { "KEY-m\($0)" })
    }
}
