import RocketMQBase
import RocketMQProtocol
import Synchronization
import Testing

@testable import RocketMQBroker

/// Answers to sends say the truth about the disk.
@Suite struct SendingCommitTests {
    private func isLog(_ path: String) -> Bool { path.contains("/commitlog/") }

    @Test("No answer leaves before the messages of its tick are written, and all leave then")
    func answersAreHeldUntilCommit() throws {
        let scene = try BrokerScene()
        try scene.createTopic("T")
        let writesBefore = scene.files.count(.write)
        let opaques = (0..<5).map { scene.producer.send(scene.sendRequest("T", "m\($0)")) }
        #expect(scene.producer.takeAnswers().isEmpty)
        #expect(scene.files.count(.write) == writesBefore)
        scene.loop.settle()
        #expect(scene.files.count(.write) == writesBefore + 1, "one tick is one write")
        let answers = scene.producer.takeAnswers()
        #expect(answers.map(\.opaque) == opaques)
        #expect(answers.map(\.responseCode) == .init(repeating: .success, count: 5))
        #expect(answers.map { $0.fields["queueOffset"] } == ["0", "1", "2", "3", "4"])
        #expect(try scene.bodies("T") == ["m0", "m1", "m2", "m3", "m4"])
    }

    @Test("An answer has the fields of the reference")
    func answerFields() throws {
        let scene = try BrokerScene()
        try scene.createTopic("T")
        let first = try scene.store("T", queue: 2, properties: "UNIQ_KEY\u{1}0A0B\u{2}TAGS\u{1}x")
        #expect(first.fields["queueId"] == "2")
        #expect(first.fields["queueOffset"] == "0")
        #expect(first.fields["transactionId"] == "0A0B")
        #expect(first.fields["msgId"] == "7F00000100002A9F0000000000000000")
        #expect(first.fields["MSG_REGION"] == "DefaultRegion")
        #expect(first.fields["TRACE_ON"] == "true")
        let second = try scene.store("T", queue: 2)
        let stored = try scene.messages("T", queue: 2)
        let offset = String(stored[1].commitLogOffset, radix: 16, uppercase: true)
        #expect(second.fields["msgId"]?.hasSuffix(offset) == true)
    }

    @Test(
        "When a commit fails every held answer is an error, one-ways are silent, and later sends are stored",
        arguments: [
            (FileSystemError.Code.noSpace, ResponseCode.serviceNotAvailable), (.inputOutput, .systemError),
        ])
    func failedCommit(_ fault: FileSystemError.Code, _ code: ResponseCode) throws {
        let scene = try BrokerScene()
        try scene.createTopic("T")
        try scene.store("T", "before")
        let other = try scene.client()
        scene.files.setFault { operation, path in operation == .write && path.contains("/commitlog/") ? .fail(fault) : nil }
        var expected: [Int32] = []
        for index in 0..<3 {
            expected.append(scene.producer.send(scene.sendRequest("T", "lost \(index)")))
            scene.producer.send(scene.sendRequest("T", "lost one-way \(index)", oneway: true))
            other.send(scene.sendRequest("T", "lost other \(index)", queue: 1))
        }
        scene.loop.settle()
        let answers = scene.producer.takeAnswers()
        #expect(Set(answers.map(\.opaque)) == Set(expected))
        #expect(answers.count == 3)
        #expect(answers.allSatisfy { $0.responseCode == code && $0.remark?.isEmpty == false })
        #expect(other.takeAnswers().map(\.responseCode) == [code, code, code])
        #expect(try scene.bodies("T") == ["before"])

        scene.files.setFault(nil)
        let after = try scene.store("T", "after")
        #expect(after.fields["queueOffset"] == "1")
        #expect(try scene.bodies("T") == ["before", "after"])
        #expect(try scene.bodies("T", queue: 1).isEmpty)
    }

    @Test("A write that breaks off in the middle leaves nothing of the tick, also after a restart")
    func shortWrite() throws {
        let scene = try BrokerScene()
        try scene.createTopic("T")
        try scene.store("T", "before")
        scene.files.setFault { operation, path in operation == .write && path.contains("/commitlog/") ? .short(150, .noSpace) : nil }
        for index in 0..<4 { scene.producer.send(scene.sendRequest("T", "lost \(index)")) }
        scene.loop.settle()
        #expect(scene.producer.takeAnswers().map(\.responseCode) == .init(repeating: .serviceNotAvailable, count: 4))
        scene.files.setFault(nil)
        let again = try BrokerScene(files: scene.files.copy())
        #expect(try again.bodies("T") == ["before"])
        try scene.store("T", "after")
        #expect(try scene.bodies("T") == ["before", "after"])
    }

    @Test("A send over a connection that is gone is stored, and nobody else gets its answer")
    func connectionGone() throws {
        let scene = try BrokerScene()
        try scene.createTopic("T")
        let other = try scene.client()
        scene.producer.send(scene.sendRequest("T", "mine"))
        let opaque = other.send(scene.sendRequest("T", "other's"))
        scene.producer.close()
        scene.loop.settle()
        #expect(other.takeAnswers().map(\.opaque) == [opaque])
        #expect(try scene.bodies("T") == ["mine", "other's"])
    }

    @Test("Answers of many connections interleaved all come to their own")
    func interleaved() throws {
        let scene = try BrokerScene()
        try scene.createTopic("T")
        let clients = try (0..<7).map { _ in try scene.client() }
        var random = RandomSource(seed: 3)
        var expected = [[Int32: String]](repeating: [:], count: clients.count)
        for round in 0..<40 {
            scene.files.setFault { operation, path in
                round % 4 == 3 && operation == .write && path.contains("/commitlog/") ? .fail(.noSpace) : nil
            }
            for index in 0..<20 {
                let who = Int(random.next() % 7)
                let body = "\(round)-\(index)"
                let opaque = clients[who].send(scene.sendRequest("T", body, properties: "UNIQ_KEY\u{1}\(body)"))
                expected[who][opaque] = round % 4 == 3 ? "" : body
            }
            scene.loop.settle()
        }
        scene.files.setFault(nil)
        var stored: [String] = []
        for (client, wanted) in zip(clients, expected) {
            let answers = client.takeAnswers()
            #expect(answers.count == wanted.count)
            for answer in answers {
                let body = wanted[answer.opaque]
                if body == "" {
                    #expect(answer.responseCode == .serviceNotAvailable)
                } else {
                    #expect(answer.responseCode == .success)
                    #expect(answer.fields["transactionId"] == body)
                    stored.append(body ?? "")
                }
            }
        }
        #expect(Set(try scene.bodies("T")) == Set(stored))
        #expect(stored.count == 600)
    }

    @Test(
        "Refusals come at once and name what is wrong",
        arguments: [
            (["b": "Unknown", "c": ""], ResponseCode.topicNotExist, "Unknown"), (["e": "4"], .systemError, "queue 4"),
            (["e": "x"], .systemError, "e"), (["b": "bad topic!"], .systemError, "only letters"),
            (["i": "DELAY\u{1}soon"], .systemError, "DELAY"),
            (["b": "SCHEDULE_TOPIC_XXXX"], .noPermission, "SCHEDULE_TOPIC_XXXX"),
            (["i": "TIMER_DELAY_MS\u{1}soon"], .messageIllegal, "timer"),
            (["g": "99999999999999999999"], .systemError, "g"),
        ])
    func refusals(_ fields: [String: String], _ code: ResponseCode, _ word: String) throws {
        let scene = try BrokerScene()
        try scene.createTopic("T")
        let answer = try scene.producer.call(scene.sendRequest("T", extra: fields))
        #expect(answer.responseCode == code)
        #expect(answer.remark?.contains(word) == true, "\(answer.remark ?? "")")
        #expect(try scene.bodies("T").isEmpty)
        var oneway = scene.sendRequest("T", extra: fields)
        oneway.flag |= FrameFormat.onewayFlag
        scene.producer.send(oneway)
        scene.loop.settle()
        #expect(scene.producer.takeAnswers().isEmpty)
    }

    @Test("A body above maxMessageSize, and properties that do not fit, are refused; at the limit they are stored")
    func sizes() throws {
        let scene = try BrokerScene()
        try scene.createTopic("T")
        let limit = String(repeating: "x", count: 65_536)
        try scene.store("T", limit)
        let large = try scene.producer.call(scene.sendRequest("T", limit + "x"))
        #expect(large.responseCode == .messageIllegal)
        #expect(large.remark?.contains("maxMessageSize") == true)
        // CLUSTER and a separator come behind what was sent.
        let room = 32_767 - "\u{2}CLUSTER\u{1}DefaultCluster".utf8.count
        let most = "K\u{1}" + String(repeating: "v", count: room - 2)
        try scene.store("T", "fits", properties: most)
        let long = try scene.producer.call(scene.sendRequest("T", "does not", properties: most + "v"))
        #expect(long.responseCode == .messageIllegal)
        #expect(try scene.messages("T").last?.properties["K"]?.utf8.count == room - 2)
        #expect(try scene.bodies("T").count == 2)
    }

    @Test("A broker, a topic that may not be written to")
    func permissions() throws {
        let scene = try BrokerScene(["brokerPermission": "4"])
        let answer = try scene.producer.call(scene.sendRequest("TBW102"))
        #expect(answer.responseCode == .noPermission)
        #expect(answer.remark?.contains("brokerPermission") == true)

        let writable = try BrokerScene()
        try writable.createTopic("ReadOnly", perm: 4)
        let refused = try writable.producer.call(writable.sendRequest("ReadOnly"))
        #expect(refused.responseCode == .noPermission)
        #expect(refused.remark?.contains("ReadOnly") == true)
    }
}
