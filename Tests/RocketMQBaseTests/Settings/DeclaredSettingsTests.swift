import Foundation
import RocketMQBase
import Testing

@Suite struct DeclaredSettingsTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    private static let schemas = [BrokerSettings.schema, NameServerSettings.schema]

    @Test func `defaults are the reference's`() {
        let broker = SettingsValues(BrokerSettings.schema)
        #expect(broker[BrokerSettings.listenPort] == 10911)
        #expect(broker.replicationPort == 10912)
        #expect(broker[StoreSettings.mappedFileSizeCommitLog] == 1_073_741_824)
        #expect(broker.consumeQueueFileBytes == 6_000_000)
        #expect(broker.indexFileBytes == 420_000_040)
        #expect(broker[StoreSettings.messageDelayLevel].settingText == "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h")
        #expect(broker[StoreSettings.deleteWhen].hours == [4])
        #expect(broker[BrokerSettings.transactionCheckInterval] == 60_000)
        #expect(SettingsValues(NameServerSettings.schema)[NameServerSettings.listenPort] == 9876)
        for schema in Self.schemas { #expect(SettingsValues(schema).violatedRules().isEmpty) }
    }

    /// A setting that is declared but not listed in a group could be read and never set.
    @Test func `every declared setting is in its schema`() throws {
        let folder = Self.root.appending(path: "Sources/RocketMQBase/Settings/Declared")
        var found = 0
        for name in ["BrokerSettings", "StoreSettings", "NameServerSettings", "CommonSettings"] {
            let text = try String(contentsOf: folder.appending(path: name + ".swift"), encoding: .utf8)
            for match in text.matches(of: /public static let \w+ = Setting(?:\.addresses)?\(\s*"(\w+)"/) {
                found += 1
                let key = String(match.1)
                #expect(Self.schemas.contains { $0[key] != nil }, "\(key) in \(name).swift")
            }
        }
        #expect(found > 60)
    }

    @Test func `every text is a sentence of one line`() {
        for setting in Self.schemas.flatMap(\.settings) {
            #expect(setting.text.hasSuffix(".") && !setting.text.contains("\n"), "\(setting.name)")
        }
    }

    @Test func `no key of the reference's is unknown`() {
        #expect(referencePropertyNames.count > 500)
        for schema in Self.schemas {
            for key in referencePropertyNames {
                let known = schema[key] != nil || schema.withoutEffect[key] != nil || schema.refused[key] != nil
                #expect(known, "\(key) in \(schema.program)")
            }
        }
    }

    @Test func `what old files call a setting sets it`() {
        var values = SettingsValues(BrokerSettings.schema)
        let findings = values.apply(Array("mapedFileSizeCommitLog=65536\nmapedFileSizeConsumeQueue=many".utf8), source: "b.conf")
        #expect(values[StoreSettings.mappedFileSizeCommitLog] == 65536)
        #expect(findings.map(\.severity) == [.notice, .notice, .error])
        #expect(
            findings.first?.message
                == "mapedFileSizeCommitLog is the name that mappedFileSizeCommitLog had in earlier releases, and sets it")
        #expect(findings.last?.description.hasPrefix("b.conf:2: mappedFileSizeConsumeQueue must be") == true)
        for (former, present) in BrokerSettings.schema.formerNames {
            #expect(BrokerSettings.schema[former] == nil && BrokerSettings.schema[present] != nil)
        }
    }

    @Test func `a key of the other program's is said to be`() {
        var values = SettingsValues(NameServerSettings.schema)
        let findings = values.apply(Array("brokerName=a\nserverSelectorThreads=3".utf8), source: "n.conf")
        #expect(
            findings.map(\.description) == [
                "n.conf:1: brokerName has no effect here: it is a setting of the broker's",
                "n.conf:2: serverSelectorThreads has no effect here: requests run on event loops, which have no thread pools or queues to size",
            ])
        #expect(findings.allSatisfy { $0.severity == .notice })
    }

    @Test(arguments: [
        ("namesrvAddr", "10.0.0.1:9876;[fd00::1]:9876;names.example:9876", true),
        ("namesrvAddr", "10.0.0.1:9876,10.0.0.2:9876", false),
        ("namesrvAddr", "10.0.0.1", false),
        ("namesrvAddr", "fd00::1:9876", false),
        ("namesrvAddr", "a:0", false), ("namesrvAddr", "a:+1", false),
        ("namesrvAddr", ":9876", false),
        ("brokerIP1", "10.0.0.1", true),
        ("brokerIP1", "fd00::1", true),
        ("brokerIP1", "", true),
        ("brokerIP1", "10.0.0.1:10911", false),
        ("brokerName", "broker a", false),
        ("bindAddress", "localhost", false),
        ("messageDelayLevel", "1s 2m 3h 4d", true),
        ("messageDelayLevel", "1s 2x", false),
        ("messageDelayLevel", "", false),
        ("messageDelayLevel", "9223372036854775807d", false),
        ("deleteWhen", "4;16", true),
        ("deleteWhen", "24", false),
        ("deleteWhen", "", false),
        ("storePathCommitLog", "/a,/b", false),
        ("brokerRole", "SLAVE", true),
        ("fileReservedTime", "0", false),
    ])
    func `special values are checked`(key: String, value: String, isAllowed: Bool) {
        var values = SettingsValues(BrokerSettings.schema)
        let findings = values.apply(Array("\(key)=\(value)".utf8), source: "b.conf")
        #expect(findings.isEmpty == isAllowed)
        #expect(findings.allSatisfy { $0.severity == .error && $0.description.hasPrefix("b.conf:1: \(key) must be ") })
    }

    @Test func `delay levels beyond the last count as the last`() throws {
        let levels = try #require(DelayLevels(settingText: " 1s  5m 2h "))
        #expect(levels.milliseconds == [1000, 300_000, 7_200_000])
        #expect(levels.settingText == "1s 5m 2h")
        #expect([-1, 0, 1, 3, 99].map(levels.milliseconds(ofLevel:)) == [nil, nil, 1000, 7_200_000, 7_200_000])
        #expect(HoursOfDay(settingText: "16;4")?.settingText == "04;16")
    }

    @Test(arguments: [
        ("brokerRole=SLAVE", "b:1"),
        ("haListenPort=10911", "b:1: haListenPort must not be listenPort (10911)"),
        ("listenPort=65535", "default: haListenPort must be set: there is no port after listenPort 65535"),
        ("diskSpaceWarningLevelRatio=80", "default: diskSpaceCleanForciblyRatio must not be above diskSpaceWarningLevelRatio (80)"),
        ("maxIndexNum=100000000\nmaxHashSlotNum=100000000", "b:1: maxIndexNum and maxHashSlotNum make an index file of"),
    ])
    func `settings that contradict each other stop the start`(text: String, finding: String) {
        var values = SettingsValues(BrokerSettings.schema)
        #expect(values.apply(Array(text.utf8), source: "b").isEmpty)
        let problems = values.violatedRules().map(\.description)
        #expect(problems.count == 1)
        if finding != "b:1" { #expect(problems.first?.hasPrefix(finding) == true) }
    }

    @Test func `odd sizes and a chosen port`() throws {
        var values = SettingsValues(BrokerSettings.schema)
        try values.set(StoreSettings.mappedFileSizeConsumeQueue, to: 401, origin: .option("x"))
        try values.set(BrokerSettings.listenPort, to: 0, origin: .option("x"))
        try values.set(StoreSettings.storePathRootDir, to: "/data", origin: .option("x"))
        #expect(values.consumeQueueFileBytes == 420)
        #expect(values.replicationPort == 0)
        #expect(values.commitLogDirectory == "/data/commitlog")
        try values.set(StoreSettings.storePathCommitLog, to: "/fast", origin: .option("x"))
        #expect(values.commitLogDirectory == "/fast")
        #expect(BrokerSettings.forbiddenNames(values) == ["configBlackList", "brokerConfigPath", "rocketmqHome"])
        #expect(NameServerSettings.forbiddenNames(SettingsValues(NameServerSettings.schema)).contains("kvConfigPath"))
    }

    @Test(arguments: [
        ("conf/broker.conf", BrokerSettings.schema), ("conf/namesrv.conf", NameServerSettings.schema),
        ("conf/2m-noslave/broker-a.properties", BrokerSettings.schema), ("conf/2m-noslave/broker-b.properties", BrokerSettings.schema),
    ])
    func `the example files say nothing wrong`(path: String, schema: SettingsSchema) throws {
        let text = try String(contentsOf: Self.root.appending(path: path), encoding: .utf8)
        var values = SettingsValues(schema)
        #expect(values.apply(Array(text.utf8), source: path).map(\.description) == [])
        #expect(values.violatedRules().isEmpty)
        // What stands commented out must be a setting, too; where no example value is meant, it is the default.
        let examples: Set = ["namesrvAddr", "brokerIP1", "storePathCommitLog"]
        for match in text.matches(of: /(?m)^#(\w+)=(.*)$/) {
            let setting = try #require(schema[String(match.1)], "\(match.1)")
            #expect(setting.parse(String(match.2)) != nil)
            if !examples.contains(setting.name) { #expect(setting.defaultText == String(match.2), "\(setting.name)") }
        }
    }
}
