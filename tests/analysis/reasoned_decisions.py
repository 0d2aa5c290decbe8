"""Decisions with their reasons, by authors who had not seen the word lists: whether the words are with or against the side taken.

A line is one of "with BUY: …", "against BUY: …"; a reason without a direction is with any side. Two sets; both shaped the lists afterwards.
"""

from __future__ import annotations

FIRST = """
with BUY: The downside break failed almost immediately, which leaves bears trapped beneath us.
with BUY: The market is balanced, with neither side able to take control.
against BUY: A double top has completed and the neckline has been violated.
with SELL: Insiders have been offloading shares and a dilutive offering was just announced.
against SELL: Although the open was soft, demand returned quickly and the close was at the session high.
with BUY: Relative strength versus the sector keeps improving and leadership is broadening.
with BUY: The decline has run its course and price is now recovering its lost ground.
with SELL: Every bounce is weaker than the one before and supply keeps hitting the market.
with SELL: No major news today; the pair is consolidating in a narrow band.
against SELL: Buyers keep absorbing every dip and the offers above are getting thinner by the hour.
against SELL: Earnings beat on both lines and management lifted full-year guidance.
with BUY: Oversold readings plus positive divergence make a rebound from here likely.
with BUY: Sure, the valuation is not cheap, but earnings growth more than justifies it.
with SELL: Overbought readings plus negative divergence make a pullback from here likely.
against BUY: The trend has turned negative, and I expect further losses over the coming sessions.
against SELL: Some profit-taking is visible, but the broader advance is healthy and well supported.
against BUY: Shares trade at a rich multiple while growth is slowing, so a correction looks overdue.
against SELL: The selloff looks exhausted and capitulation volume suggests a durable bottom is in.
against BUY: Management cut its outlook and margins are shrinking for the third straight quarter.
with BUY: Signals are mixed: volume is average and the indicators disagree with each other.
with SELL: The stock lost its 50-day average and could not reclaim it on two attempts.
with SELL: Buyers look exhausted after the spike, and a shooting star formed at resistance.
against SELL: While valuation is stretched, growth keeps surprising positively and the path of least resistance is higher.
with BUY: Rebalancing the position back to its target weight as scheduled.
with BUY: Although macro headlines are poor, the price action is constructive and dips get absorbed.
against BUY: The death cross just printed, and breadth is the weakest since March.
with SELL: The stock keeps lagging its sector and is breaking its multi-month support.
with SELL: Churn is increasing and the lost contract will force analysts to cut estimates.
with BUY: Volatility is near its monthly average and spreads are tight, so execution costs are low.
against BUY: Inventory is piling high, customers are cancelling orders, and a profit warning looks likely.
with SELL: Nothing in the data suggests the slide is over; I would stay on the short side.
against SELL: Price cleared the 50-day average on heavy volume and has held above it for three sessions.
with BUY: Central bank signalled easing, yields are easing lower, and equities should catch a tailwind.
with BUY: Demand is outpacing supply and each dip is shallower than the last.
with SELL: Reducing exposure to comply with the portfolio's maximum position limit.
with BUY: Shorts are crowded and trapped, so a squeeze toward the prior high is likely.
against SELL: Despite a weak macro print, the stock refuses to give ground, a clear sign of strength.
with BUY: Despite yesterday's shakeout, longs remain in control and new highs look within reach.
against BUY: The breakout failed and trapped longs are now being forced to liquidate.
with BUY: Fear is overdone here; fundamentals remain strong and the shares are undervalued.
with SELL: RSI sits at 50 and the moving averages are flat and intertwined.
against BUY: Exchange inflows are spiking and whales appear to be unloading their coins.
with SELL: Although the headline number beat, the guidance disappointed and the shares look vulnerable.
with SELL: The bounce is not supported by volume and offers are capping every attempt.
against SELL: Risk appetite is back, credit spreads are tightening, and cyclicals should benefit.
against BUY: I see no reason to expect a recovery; demand has dried out completely.
against BUY: Support at 50 gave way on heavy volume, exposing the January lows.
with BUY: Price is coiling beneath resistance with higher lows, hinting at an upside breakout.
against BUY: The early bounce attracted some interest, but sellers took over and the close was at the lows.
with SELL: Price is hugging VWAP on light holiday volume and offers little information.
with SELL: The sector is doing well, but this name is underperforming and suffering outflows.
with BUY: Supply on exchanges is at a multi-year low and ETF inflows remain robust.
against BUY: Relief attempts keep getting rejected at the moving average; weakness persists.
with SELL: Fast average crossed below the slow one, confirming a fresh downtrend.
with SELL: Price is pressing against support with lower highs, hinting at a breakdown.
with SELL: Revenue missed, the outlook was withdrawn, and the CFO is leaving.
with SELL: Evidence on both sides is about equal and the outlook remains uncertain.
with SELL: Despite yesterday's bounce, bears remain in control and new lows look likely.
with BUY: Bids are stacked deep in the book while offers keep getting lifted.
with SELL: The advance has run its course and price is now giving back its gains.
against BUY: Large holders are distributing into strength and the advance is running out of steam.
against SELL: The golden cross on the daily chart favours further gains.
with BUY: Sellers look exhausted after the flush, and a reversal candle formed at major support.
with SELL: The upside break failed almost immediately, which leaves late longs trapped.
with BUY: Trend is intact: higher highs, higher lows, and no distribution visible.
against BUY: Price broke below the 200-day average and the retest from underneath failed.
with SELL: The central bank turned more hawkish than expected, and risk assets should suffer.
with SELL: Breadth is deteriorating and fewer names carry the index, so the advance looks fragile.
with BUY: Following the ensemble vote of the three sub-models for this bar.
with BUY: The stock reclaimed its 200-day average with conviction and volume confirmed the move.
against BUY: Bids evaporated after the print and there is nothing underneath until 88.
against SELL: Volatility is contracting near the highs, which usually resolves with another leg higher.
against BUY: The tape is heavy and every bounce is being sold into.
with SELL: Longs are crowded and leveraged, so a liquidation cascade is a serious risk.
against BUY: Buyers are not stepping in at support any more, and the decline is accelerating.
with SELL: Yes, the multiple is low, but earnings are collapsing and it is a value trap.
with SELL: The gap higher faded immediately and the stock closed near the lows of the session.
with BUY: Fast average crossed above the slow one, confirming a fresh uptrend.
against SELL: Sentiment is improving, margins are expanding, and I expect the shares to appreciate from here.
with SELL: Price plunged through 1.10 and old support is now acting as resistance.
against BUY: Two downgrades this morning and the regulator opened a formal investigation.
against SELL: The downtrend line has been broken and fresh demand is coming in on every retest.
with BUY: Breadth is expanding and small caps are joining, so the climb has legs.
against SELL: The pullback found support exactly where it should, and the uptrend remains intact.
with SELL: Downtrend is intact: lower highs, lower lows, and no accumulation visible.
with SELL: The holding period of ten bars has elapsed, so the position is closed per the rules.
with SELL: Correlation with the index is high, so this leg hedges the existing exposure.
with SELL: The book is thin on the bid side and offers are being stacked lower.
with BUY: The sector is under pressure, but this name is outperforming and attracting inflows.
with SELL: Complacency is extreme here; fundamentals are eroding and the shares are overpriced.
with BUY: Earnings are due on Thursday and the outcome is hard to predict either way.
with SELL: Stablecoin outflows are mounting and miners are dumping reserves onto the market.
with SELL: A head and shoulders pattern is completing, with a target well below current price.
against BUY: Lower highs and lower lows across all timeframes; the downtrend is firmly in control.
against SELL: Funding has normalised, exchange outflows are growing, and holders are clearly accumulating.
with BUY: Price surged through 1.10 and old resistance is now acting as support.
with BUY: Order size is limited to two percent of equity with a stop at 1.5 ATR.
with BUY: The weakness is not supported by volume and buyers are defending the level well.
with BUY: Nothing in the data suggests the advance is over; I would stay with the trend.
with SELL: Weak payrolls and sticky inflation point to further losses in the index.
against BUY: MACD has crossed below its signal line and RSI is diverging negatively from price.
against SELL: There is no sign of distribution here; institutions continue to add.
with BUY: MACD histogram turned positive while price holds above all its key moving averages.
with BUY: Insiders have been adding shares and the new buyback gives a solid floor.
against SELL: Breakout confirmed: yesterday's close above the range opens room toward 142.
against SELL: A string of higher lows shows steady accumulation beneath resistance.
against BUY: Although the quarter beat estimates, guidance was slashed and the shares look vulnerable.
with BUY: The gap was filled, support held, and the stock closed near the highs of the session.
against SELL: RSI has recovered from oversold and the MACD line just crossed above its signal.
with BUY: Strong payrolls and cooling inflation support a further advance in the index.
with BUY: Quarterly results topped consensus, and the company raised its dividend and outlook.
against SELL: Three analyst upgrades this week and the order backlog hit a record.
with BUY: Customer growth is accelerating and the contract win should lift estimates.
with BUY: Price is trading sideways inside its range and I have no strong directional conviction.
against SELL: Valuation looks cheap relative to peers and free cash flow is accelerating.
against SELL: Order flow is strongly skewed to the bid and shorts are being squeezed.
with SELL: MACD histogram turned negative while price slips beneath its key moving averages.
with BUY: A bull flag has resolved higher and the measured target sits near 215.
against SELL: Bears failed to break support for the fourth time and are now covering.
against BUY: Headline growth still looks fine, yet leading indicators deteriorate and downside risk dominates.
""".strip().splitlines()

SECOND = """
with SELL: New lows are outpacing new highs even as the index hovers near its peak, an ominous divergence.
with BUY: Negative funding with firm spot demand suggests the next leg is higher.
against SELL: Price reclaimed the 200-day average on heavy volume and is holding above it comfortably.
with BUY: Evidence is evenly balanced between the optimistic and pessimistic cases.
with SELL: Implied and realised volatility are in line with their one-year medians.
against SELL: Credit spreads are tightening and financial conditions are easing, a supportive backdrop for equities.
against SELL: Higher lows continue to form and the breakout above resistance has been confirmed.
with BUY: Customer churn hit a record low and the backlog is growing faster than expected.
against BUY: Although earnings beat consensus, guidance was slashed and management warned of softer demand.
with SELL: Although growth data looks fine, the chart is broken and bounces keep failing.
against BUY: The bounce looks like a dead cat and the asset remains overvalued against its cash flows.
with BUY: Disinflation is taking hold, giving the central bank room to ease and supporting duration.
with BUY: Short interest is 28% of float and borrow is tight, so a squeeze is in play.
with BUY: Drought is cutting yields in Brazil, so coffee supply will tighten and prices should firm.
against SELL: While valuations are stretched, earnings growth is accelerating and the path of least resistance is higher.
with SELL: Spread between the two legs widened to 2.3 sigma; putting on the pair trade.
with BUY: Price broke out of a six-week base on twice the average turnover.
with BUY: Long-term holders are accumulating again while exchange reserves hit a multi-year low.
against SELL: Real yields are sliding and the dollar is softening, both powerful tailwinds for gold.
with BUY: The merger cleared antitrust review, removing the overhang that had weighed on the shares.
with SELL: Gross margin shrank for the fourth straight quarter and receivables are ballooning.
with BUY: Weekly close above the Ichimoku cloud signals a regime shift in favour of longs.
against BUY: The breakdown below the neckline completes a head and shoulders top targeting 142.
with SELL: Shooting star at the highs on heavy volume suggests the advance is exhausted.
with BUY: Cup and handle pattern resolved to the upside with a measured target of 87.
with SELL: Margin debt is at a record and forced liquidation would hit this name hard.
against BUY: MACD has rolled over beneath its signal line and the histogram is deepening into negative territory.
with SELL: Large iceberg offers keep capping the market, and bids are thinning out.
with BUY: Stimulus from Beijing should revive copper demand, and inventories are already thin.
with BUY: Price is oscillating inside a tight range with no clear direction.
against BUY: Downgrades are mounting and consensus estimates still look far too high.
against BUY: Whales are moving large balances onto exchanges, which usually precedes heavy distribution.
with BUY: Small caps are finally joining in, and that broadening supports further gains.
against SELL: Bids keep absorbing every offer at 4,180 and the book is stacked in favour of demand.
against BUY: Valuation looks cheap on paper, but the business is in structural decline and more pain lies ahead.
with SELL: Miners are offloading reserves and stablecoin inflows have stalled, leaving the market short of demand.
with SELL: Rising jobless claims and a contracting PMI suggest recession risk is not priced.
with SELL: Leadership has narrowed to three names and cyclicals are cracking underneath the surface.
against BUY: Crude inventories swelled by nine million barrels and the glut should weigh on prices.
with SELL: Demand is drying out at these levels while supply takes control.
against SELL: MACD crossed above its signal line with the histogram widening into positive territory.
against BUY: September is traditionally the weakest month for this index, and conditions point to another slide.
against BUY: The price failed at resistance for the third time and is now carving out lower highs.
with SELL: Active addresses are shrinking and a large token unlock next week will flood the market.
with SELL: The valuation is undemanding, but estimates are being cut and the shares deserve to derate.
with SELL: Price lost the 100-day average and the retest from beneath failed.
against SELL: The drug approval came through early, a major positive catalyst that the market has not priced in.
with SELL: Upside is capped by resistance at 320 while the air pocket beneath is deep.
with BUY: Network activity and fee revenue are hitting records, which underpins a higher token valuation.
with BUY: Payrolls beat handily while wages cooled, a Goldilocks mix that favours stocks.
with BUY: Quoting inside the spread to earn the maker rebate on this venue.
against BUY: The CFO resigned abruptly and several executives have been dumping shares.
with BUY: The selling pressure has dried out and demand is starting to take control.
against SELL: Spot ETF inflows have accelerated for nine sessions, pointing to further appreciation.
against BUY: The volatility regime has flipped to stress, VIX is spiking and investors are fleeing risk.
with SELL: The stock trades at 60 times earnings with slowing growth, well above any reasonable fair value.
with BUY: No evidence of distribution here; institutions appear to be adding on every dip.
against BUY: Breadth is deteriorating badly, with only a handful of megacaps propping the index.
against BUY: Euphoria is everywhere and retail is all in, a classic topping signal; expect a correction.
against SELL: Coins are leaving exchanges at the fastest pace this year, so available supply is tightening.
against BUY: Despite the upbeat headlines, the tape is heavy and every bounce gets faded.
with SELL: Weekly close beneath the Ichimoku cloud signals that the long side has lost control.
against SELL: Although the quarter missed on revenue, guidance was lifted and margins should expand from here.
with BUY: ADX at 34 with the positive directional line on top confirms a strong advance.
with BUY: Revenue growth reaccelerated and operating leverage is finally showing through.
against SELL: The selloff was overdone and the asset looks cheap; we expect it to climb back to fair value.
with BUY: Price sits well below intrinsic value and the margin of safety is wide.
against SELL: Analysts are upgrading earnings estimates across the board and the stock has room to rerate higher.
with SELL: The rising wedge broke to the downside with a measured target near 61.
with BUY: More than 70% of constituents now trade above their 50-day, a healthy sign for the advance.
with SELL: The patent ruling went against the company, and a large part of revenue is now at risk.
with BUY: Adjusting the delta hedge to keep the options book neutral.
against BUY: Sticky inflation means rates stay higher for longer, and that will compress equity valuations.
with SELL: ADX is climbing with the negative directional line on top, confirming a strong decline.
against BUY: There is no sign of a bottom yet; we expect further losses ahead.
with BUY: The headlines look scary, but the damage is priced in and the recovery is under way.
with BUY: Dealers are short gamma above 4,500, so a push through could accelerate higher.
with BUY: The trade is not without risk, but the trend is strong and we want exposure.
with SELL: Seasonal weakness through late summer tends to punish this sector, and positioning is crowded long.
against SELL: Free cash flow is compounding at 20% and the shares trade at a discount to peers.
with SELL: Model output is 0.50 probability for each direction on this bar.
with SELL: Rebalancing the portfolio to its target weight per the monthly schedule.
with BUY: RSI sits at 50 and MACD is flat, giving no edge.
with BUY: Rolling the front-month contract into the next expiry ahead of first notice day.
against BUY: Credit spreads are blowing out and liquidity is draining from the system.
against BUY: Support at 1.2600 gave way and there is little beneath until 1.2450.
with SELL: Dealers flip to short gamma beneath 4,300, which could accelerate the decline.
against BUY: The regulator has opened a fraud probe, and the stock has not priced in the damage.
against BUY: Leverage is mounting, cash burn is worsening and a dilutive raise looks unavoidable.
with SELL: Volume is average and the signals conflict, so conviction is low either way.
with BUY: Although macro data is mixed, the chart is constructive and pullbacks remain shallow.
with SELL: Curve inversion is deepening and loan losses are growing, a poor setup for regional banks.
with BUY: Stochastics have turned higher from deeply oversold levels, suggesting a relief bounce is starting.
against SELL: A drawdown in inventories plus OPEC discipline leaves crude undersupplied, so prices should strengthen.
with BUY: Risk is well defined beneath 210 and the reward to the top of the range is attractive.
against SELL: Call skew is richening as dealers chase upside exposure ahead of the print.
with BUY: The hammer candle at support suggests the decline has run its course.
against SELL: RSI at 22 signals exhaustion of the decline; a rebound toward the mean is likely.
with BUY: Fair value gap filled, liquidity swept beneath the lows, and price is now reversing higher.
with BUY: The 20-day average has acted as a springboard four times, and it is holding again.
with BUY: Index reconstitution requires this trade before the closing auction.
against BUY: Death cross on the daily chart, with both averages now pointing lower.
with SELL: Position sizing set to half a percent of equity with a two ATR stop.
with BUY: Year-end seasonality and window dressing should provide a lift into the close.
with SELL: The dividend was suspended and covenant breaches look increasingly likely.
with SELL: The uptrend line has been violated and the first lower high is in place.
against SELL: We see no sign of weakness; the uptrend remains intact on all timeframes.
with SELL: Churn is accelerating and the order backlog has shrunk by a fifth.
with BUY: The downtrend line has been broken and the first higher low is in place.
with SELL: A hot CPI print forces the Fed's hand, and tighter policy will hurt long-duration assets.
with SELL: Even with strong earnings, the stock could not hold its gains, which tells us the good news is exhausted.
against BUY: Longs are overcrowded with funding at extremes, so a liquidation cascade is likely.
with SELL: The property crisis in China is crushing steel demand, so iron ore should weaken further.
with SELL: Funding is euphoric while spot demand is fading, so a flush looks likely.
with BUY: Implied volatility is cheap and the skew shows growing appetite for upside calls.
with SELL: Awaiting the FOMC decision; the outcome could go either way.
against BUY: Cumulative volume delta is diverging negatively, with takers hitting the bid relentlessly.
against BUY: Put skew is steepening sharply as institutions rush to hedge against a downside move.
with SELL: We do not see any catalyst for recovery, and the deterioration is likely to continue.
with SELL: Complacency is extreme with the VIX at 11; we expect a sharp unwind.
with BUY: Fear gauge is at panic levels; we see this as a contrarian opportunity for a rebound.
against SELL: Advance-decline line just printed a new high, confirming broad participation in the advance.
against SELL: Support at 1.0850 held for a third time and the pair is turning higher.
against SELL: The Fed is clearly pivoting to cuts, which should lift multiples across risk assets.
against BUY: ETF outflows have persisted for two weeks and demand is evaporating.
with BUY: Management raised the dividend and reaffirmed targets, underscoring confidence in the outlook.
with BUY: Bears failed to break 98.50 and the pair has snapped back sharply.
with SELL: The optimism looks misplaced, because the deal is likely to be blocked and the premium will vanish.
against BUY: A surging dollar and climbing real yields are strong headwinds for bullion.
against BUY: Offers are piling in overhead and each bounce is met with aggressive supply.
against SELL: November to January is historically the strongest stretch for this index and the setup agrees.
with SELL: The 20-day average has turned into a ceiling and price is rolling away from it.
against SELL: Cumulative volume delta is strongly positive, with aggressive takers lifting the ask.
with BUY: Order book imbalance is 3:1 toward bids and sweeps keep hitting the offer side.
against SELL: Golden cross on the daily chart, with the 50-day now sloping higher.
with SELL: Risk reversals have swung toward puts and downside protection is being bid aggressively.
with SELL: Bulls could not defend 1,950 and the metal is breaking lower.
against SELL: Volatility is collapsing after the event and risk appetite is returning strongly.
against SELL: Shorts are trapped above 61k and a squeeze toward 65k looks probable.
against BUY: Price was rejected at the upper Bollinger band and is sliding back toward the lower one.
with SELL: Stops above the highs were swept and price immediately reversed, trapping late longs.
against SELL: Insiders have been accumulating stock and the board just approved a larger repurchase plan.
with BUY: Curve is re-steepening on growth optimism, which is good for bank margins and earnings.
against SELL: Price bounced cleanly off the lower Bollinger band and is heading back toward the midline.
with SELL: Executing slice 4 of 12 of the parent TWAP order.
against SELL: Sentiment is at capitulation extremes, which typically marks a durable bottom; expecting recovery.
against SELL: Despite the noisy headlines, the tape stays firm and dips are being scooped quickly.
with SELL: Stochastics are rolling over from overbought territory, hinting at an imminent reversal lower.
against BUY: RSI at 84 with a clear divergence; a pullback looks overdue.
with BUY: Even with the hawkish minutes, equities shrugged it off, which tells us demand is robust.
""".strip().splitlines()
