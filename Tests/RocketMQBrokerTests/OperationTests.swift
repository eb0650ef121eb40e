import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQBroker

struct OperationTests {
    @Test("Settings are changed by a request, all of it or nothing")
    func settings() throws {
        let scene = try AdminScene()
        let tool = try scene.client()
        var changes: [String] = []
        scene.settings.onChange = { _, changed in changes += changed.map(\.name) }
        func change(_ text: String) throws -> RemotingCommand { try tool.call(.updateBrokerConfig, body: Array(text.utf8)) }
        #expect(try change("longPollingEnable=false\n").responseCode == .success)
        #expect(changes == ["longPollingEnable"])
        #expect(!scene.settings.values[BrokerSettings.longPollingEnable])
        for (text, code) in [
            ("configBlackList=x", ResponseCode.noPermission), ("longPollingEnable=true\nlistenPort=1", .systemError),
            ("longPollingEnable=true\nlongPollingEnabled=true", .systemError), ("brokerPermission=99", .systemError),
        ] {
            let answer = try change(text)
            #expect(answer.responseCode == code, "\(text)")
            #expect(answer.remark?.isEmpty == false)
        }
        #expect(!scene.settings.values[BrokerSettings.longPollingEnable], "nothing of a refused request counts")
        let answer = try change("sendMessageThreadPoolNums=16\nlongPollingEnable=true")
        #expect(answer.responseCode == .success)
        #expect(answer.remark?.contains("sendMessageThreadPoolNums has no effect here") == true)
        let shown = try tool.call(.getBrokerConfig)
        #expect(String(decoding: shown.body, as: UTF8.self).contains("longPollingEnable=true\n"))
        #expect(shown.fields["version"]?.contains("\"counter\":2") == true)
    }

    @Test("Requests of the reference are served, or refused with the reason")
    func everyCode() throws {
        let scene = try BrokerScene(["messageDelayLevel": "1s 5s"])
        let tool = try scene.client()
        for (code, said) in [
            (50, "UPDATE_AND_CREATE_ACL_CONFIG (50) belongs to access control"), (105, "is for name servers"), (200_050, "pop consumption"),
            (907, "replication"), (9_999, " request type 9999 not supported"),
        ] as [(Int32, String)] {
            let answer = try tool.call(RequestCode(rawValue: code))
            #expect(answer.responseCode == .requestCodeNotSupported)
            #expect(answer.remark?.contains(said) == true, "\(answer.remark ?? "")")
        }
        for code: RequestCode in [.cleanExpiredConsumequeue, .deleteExpiredCommitlog] {
            #expect(try tool.call(code).responseCode == .success)
        }
        try scene.createTopic("T")
        try scene.store("T", properties: "DELAY\u{1}1")
        scene.loop.advance(by: .seconds(12))
        #expect(try DelayOffsetSerializeWrapper(decoding: tool.call(.getAllDelayOffset).body).offsetTable == [1: 1, 2: 0])
        for queue in [0, 1] { for _ in 0..<20 { try scene.store("T", queue: Int32(queue)) } }
        func commit(_ group: String, _ queue: Int, _ offset: Int) throws {
            let fields = ["consumerGroup": group, "topic": "T", "queueId": "\(queue)", "commitOffset": "\(offset)"]
            #expect(try tool.call(.updateConsumerOffset, fields).responseCode == .success)
        }
        for (group, queue, offset) in [("a", 0, 5), ("b", 0, 3), ("b", 1, 9), ("c", 0, 1), ("c", 1, 20)] {
            try commit(group, queue, offset)
        }
        func corrections(_ more: [String: String]) throws -> [Int32: Int64] {
            try QueryCorrectionOffsetBody(
                decoding: tool.call(.queryCorrectionOffset, ["topic": "T"].merging(more) { $1 }).body
            ).correctionOffsets
        }
        #expect(try corrections([:]) == [0: 1, 1: 9])
        #expect(try corrections(["filterGroups": "c"]) == [0: 3, 1: 9])
        #expect(try corrections(["filterGroups": "c,b", "compareGroup": "b"]) == [0: .max])
        #expect(try TopicList(decoding: tool.call(.queryTopicsByConsumer, ["group": "b"]).body).topicList == ["T"])
        #expect(try tool.call(.querySubscriptionByConsumer, ["group": "b", "topic": "T"]).responseCode == .success)
    }

    @Test("What comes into a topic and goes out to a group is told of the last minute, hour and day")
    func work() throws {
        let scene = try BrokerScene()
        try scene.createTopic("T")
        func data(_ name: String, _ key: String) throws -> BrokerStatsData? {
            let answer = try scene.client().call(.viewBrokerStatsData, ["statsName": name, "statsKey": key])
            guard answer.responseCode == .success else {
                #expect(answer.remark == "The stats <\(name)> <\(key)> not exist")
                return nil
            }
            return try BrokerStatsData(decoding: answer.body)
        }
        #expect(try data("TOPIC_PUT_NUMS", "T") == nil)
        for _ in 0..<6 {
            for _ in 0..<5 { try scene.store("T") }
            scene.loop.advance(by: .seconds(10))
        }
        #expect(try scene.messages("T").count == 30)
        let put = try #require(try data("TOPIC_PUT_NUMS", "T"))
        #expect(put.statsMinute.sum == 30 && put.statsMinute.avgpt == 1 && abs(put.statsMinute.tps - 0.5) < 0.1)
        #expect(put.statsHour.sum == 30 && put.statsDay.sum == 30)
        let size = try #require(try data("TOPIC_PUT_SIZE", "T"))
        #expect(size.statsMinute.sum > 30 * 90 && size.statsMinute.avgpt > 90)
        #expect(try data("GROUP_GET_NUMS", "T@readers")?.statsMinute.sum == 30)
        #expect(try data("GROUP_GET_NUMS", "T@others") == nil)
        #expect(try data("BROKER_GET_NUMS", "DefaultCluster")?.statsDay.sum == 30)
        scene.loop.advance(by: .seconds(90))
        #expect(try data("TOPIC_PUT_NUMS", "T")?.statsMinute.sum == 0 && data("TOPIC_PUT_NUMS", "T")?.statsHour.sum == 30)
        for _ in 0..<8 { scene.loop.advance(by: .seconds(600)) }
        #expect(try data("TOPIC_PUT_NUMS", "T")?.statsHour.sum == 0 && data("TOPIC_PUT_NUMS", "T")?.statsDay.sum == 30)
        let consumer = try scene.client()
        let offset = try #require(try scene.messages("T").first).commitLogOffset
        let back = ["group": "readers", "offset": "\(offset)", "delayLevel": "0"]
        #expect(try consumer.call(.request(.consumerSendMsgBack, back)).responseCode == .success)
        #expect(try data("SNDBCK_PUT_NUMS", "T@readers")?.statsMinute.sum == 1)
    }

    @Test("Changed settings are written back into the file, with its comments, and are there at the next start")
    func settingsFile() throws {
        let files = MemoryFileSystem()
        let path = "/etc/broker.conf"
        func put(_ text: String) throws {
            try files.createDirectory("/etc")
            try files.replaceDurably(path, with: Array(text.utf8), keepingBackup: false)
        }
        try put("# mine\nbrokerName = broker-a\nlogLevel=info\n\n# the rest\nlogLevel=warning\n")
        let scene = try BrokerScene(files: files) { $0.settingsFile = path }
        let tool = try scene.client()
        func change(_ text: String) throws -> RemotingCommand { try tool.call(.updateBrokerConfig, body: Array(text.utf8)) }
        func text() throws -> String { String(decoding: try files.contents(of: path) ?? [], as: UTF8.self) }
        #expect(try change("logLevel=error\nlongPollingEnable=false").responseCode == .success)
        let changed = "# mine\nbrokerName = broker-a\nlogLevel=info\n\n# the rest\nlogLevel=error\nlongPollingEnable=false\n"
        #expect(try text() == changed)
        #expect(try change("longPollingEnable=true\nlistenPort=1").responseCode == .systemError)
        #expect(try text() == changed, "refused")
        #expect(try change("longPollingEnable=false").responseCode == .success)
        files.setFault { operation, path in operation == .write && path.hasPrefix("/etc/") ? .fail(.noSpace) : nil }
        let failed = try change("longPollingEnable=true")
        #expect(failed.responseCode == .systemError && failed.remark?.hasPrefix("in force until the broker stops, but not saved") == true)
        #expect(try text() == changed)
        files.setFault(nil)
        let homeless = try BrokerScene()
        let answer = try homeless.client().call(.updateBrokerConfig, body: Array("logLevel=error".utf8))
        #expect(answer.responseCode == .success && answer.remark?.contains("started without a settings file (-c FILE)") == true)
    }

    @Test("The runtime table has what the reference's tools read, with true rates and totals")
    func runtime() throws {
        let scene = try AdminScene()
        scene.statistics.start(on: scene.loop)
        let tool = try scene.client()
        try scene.append("T")
        let first = scene.loop.clock.wallMilliseconds
        for _ in 0..<120 {
            scene.totals.putMessages += 100
            scene.totals.putBytes += 12_800
            scene.totals.gotMessages += 50
            scene.loop.advance(by: .seconds(1))
        }
        let table = try KVTable(decoding: tool.call(.getBrokerRuntimeInfo).body).table
        #expect(table["putTps"]?.split(separator: " ").count == 3)
        let rates = try #require(table["putTps"]).split(separator: " ").compactMap { Double($0) }
        #expect(rates.allSatisfy { abs($0 - 100) < 15 }, "\(rates)")
        #expect(table["msgPutTotalTodayNow"] == "12000" && table["msgGetTotalTodayNow"] == "6000")
        #expect(table["putMessageAverageSize"] == "128.00")
        #expect(table["commitLogMaxOffset"] == "\(scene.store.writtenOffset)" && table["commitLogMinOffset"] == "0")
        #expect(table["earliestMessageTimeStamp"] == "\(first)")
        #expect(table["runtime"] == "[ 0 days, 0 hours, 2 minutes, 0 seconds ]")
        #expect(table["commitLogDirCapacity"]?.hasPrefix("Total : ") == true)
        for name in [
            "brokerVersionDesc", "bootTimestamp", "msgPutTotalYesterdayMorning", "msgPutTotalTodayMorning", "msgGetTotalYesterdayMorning",
            "msgGetTotalTodayMorning", "getTransferedTps", "sendThreadPoolQueueSize", "pullThreadPoolQueueSize",
            "sendThreadPoolQueueHeadWaitTimeMills", "pullThreadPoolQueueHeadWaitTimeMills", "pageCacheLockTimeMills", "commitLogDiskRatio",
        ] { #expect(table[name] != nil, "\(name)") }
    }

    @Test("Totals of the day begin anew at midnight")
    func midnight() throws {
        let scene = try AdminScene()
        scene.statistics.start(on: scene.loop)
        scene.totals.putMessages = 10
        scene.loop.advance(by: .seconds(86_400))
        #expect(scene.statistics.atMidnight.putMessages == 10)
        scene.totals.putMessages = 25
        scene.loop.advance(by: .seconds(86_400))
        #expect(scene.statistics.atMidnight.putMessages == 25 && scene.statistics.atMidnightBefore.putMessages == 10)
    }

    @Test(
        "Numbers are written as the reference's tools print them",
        arguments: [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (1 << 30, "1.0 GiB"), (UInt64.max, "16.0 EiB")] as [(UInt64, String)])
    func readableBytes(count: UInt64, text: String) {
        #expect(ReadableNumber.bytes(count) == text)
    }

    @Test("Decimals are rounded and padded")
    func decimals() {
        #expect(ReadableNumber.decimal(1.005, digits: 1) == "1.0")
        #expect(ReadableNumber.decimal(0.999, digits: 2) == "1.00")
        #expect(ReadableNumber.decimal(12.03, digits: 2) == "12.03")
        #expect(ReadableNumber.decimal(.nan, digits: 2) == "0")
    }
}
