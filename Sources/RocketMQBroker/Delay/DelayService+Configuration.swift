import RocketMQBase

extension BrokerConfiguration {
    func delays(storeHost: SocketAddress) -> DelayService.Configuration {
        DelayService.Configuration(
            delayLevels: delayLevels, timer: timer, rootDirectory: rootDirectory, storeHost: storeHost, limits: timerLimits)
    }

    var timer: TimerService.Configuration {
        var timer = TimerService.Configuration()
        timer.isEnabled = settings[StoreSettings.timerWheelEnable]
        timer.longestDelay = Int64(settings[StoreSettings.timerMaxDelaySec]) * 1000
        timer.precision = .milliseconds(settings[StoreSettings.timerPrecisionMs])
        timer.isRecallEnabled = settings[BrokerSettings.recallMessageEnable]
        // Half of the time that a log file is kept: twice is tried before its end.
        timer.roll = Int64(settings[StoreSettings.fileReservedTime]) * 1_800_000
        return timer
    }
}
