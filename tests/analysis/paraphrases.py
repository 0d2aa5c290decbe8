"""Sentences of a trading agent that point up, down or nowhere, written to be hard: idiom, metaphor, irony left out.

Most come in pairs that differ in one word. Each set was written before the lists were changed, and shaped them afterwards.
"""

from __future__ import annotations

UP = """
Quotes keep ascending and participation is improving
The instrument soars with broadening enthusiasm
Prices are climbing on growing optimism
We see flourishing conditions and accelerating progress
An impressive surge, investors are delighted
Values leap as confidence strengthens
It has risen steadily and outlook is favorable
Strong expansion, the tape is soaring
Buyers are firmly in charge and each pullback gets absorbed
The quote keeps ticking to new territory on top of the range
Shares gather steam after an upbeat print
Everything we watch is heading skywards
Bulls dominate; the path of least effort is higher
Prices have been inching north all session
Momentum keeps building and the trend is intact
Sentiment turned rosy, money flows in
Earnings exceeded hopes, the stock is winning
The market is roaring ahead
Dips get bought quickly
A powerful upswing is underway
Technical picture improved considerably
The chart shows a series of ascending bottoms
Investors are confident and adding exposure
Stock is undervalued, a rerating is likely
Bids stack up and the ask keeps getting taken out
We anticipate further appreciation given resilient demand
Everything points to a continued ascent
Strong hands are accumulating on every retrace
The ticker is on fire
Positive surprise in guidance should send it higher
Its trajectory is steeply ascending
Large players are loading up
Relative performance is excellent
Bottom formation complete, upturn ahead
Trend followers would stay long here
A sharp jump in quotes with widening breadth
Price action is encouraging
Value has doubled since the open
Expected path is skyward with high probability
Energetic advance, little selling interest
A wave of purchasing is carrying the name to levels unseen this month
The setup favors an ascent from here
Quotes leapt after the announcement and have not looked back
Participants bid aggressively for every lot
The curve bends skyward
A brisk upturn is in progress
Improving liquidity encourages fresh purchases
Our indicators agree that value will appreciate
Stellar figures, the crowd is jubilant
The rebound has gained traction
Shares vault to a record
We are witnessing a melt-up
Buyers firmly in control since the open
Tape feels light, every dip gets scooped up
Offers keep getting lifted and nobody refills them
Shorts are squeezed and running for cover
We punched through the ceiling at 4,750 and held
Price reclaimed its 20-day average on heavy volume
Higher lows all morning, the staircase is intact
Bulls defended 4,700 for the third time
Accumulation by large hands into the close
Demand is swallowing every block for sale
Prints are ticking north on expanding turnover
The ask is paper thin and the next stop is 4,800
Risk appetite returns; money rotates into equities
Dealers are forced to chase as gamma flips
Expect a leg up once 4,742 gives way
The retreat has run its course, we look for a rebound
Selling has dried up near the lows
A hammer at support hints at a turn upward
Panic is fading and capitulation looks behind us
RSI crosses from oversold territory, mean reversion favours longs
Golden cross confirmed on the hourly chart
MACD histogram prints green for the fifth bar
Breakout from the wedge with follow-through
Velocity flipped positive and keeps building
Forecast cone tilts to the upside, median at +1.2%
Model sees 40 bp of appreciation over the next hour
Headlines are upbeat, guidance was hiked
Earnings beat and the street is cheering
Sentiment has brightened after the Fed's dovish tone
Price looks cheap relative to fair value
Undervalued versus the basket, should catch up
Pullback is shallow and likely to be bought
The floor at 4,690 is holding like concrete
Sharp bounce off the lows, volume confirms
Upward thrust is gaining pace
Rally has legs
No sign of exhaustion in the advance
Price doesn't want to go down any more
Bears failed to push it beneath yesterday's low
Supply is being absorbed without a discount
Large iceberg on the bid soaks up the flow
Momentum traders are piling in on the long side
Stock is ripping, do not stand in the way
The coil has sprung to the topside
Order flow imbalance is 3:1 in favour of purchasers
Drift is persistently positive
Hurst above 0.6 with a climbing tape
We anticipate richer prints ahead
Tailwinds from falling yields support the index
Market depth shows three times as many resting purchases as sales
The path northwards is clear of obstacles
Every flush is met by eager hands
Order book skew has shifted to the buy side
Aggressive takers are paying up for size
The descent has bottomed and the curve is bending back
Quants see mean reversion kicking in from stretched lows
Funding flipped negative while spot refuses to budge, a squeeze is brewing
Investors are warming to the story again
The consumer is spending and margins are widening
Price coiled under 4,750 and then burst out
Whales have been hoarding since dawn
Liquidity sits above, price tends to be drawn there
The ascent is orderly and unhurried
The index shrugged off the bad print and marched on
Worst seems to be behind the sector
The trend line from March was respected once more
Dealers short gamma must purchase into strength
A cascade of stop orders above the range would fuel the move
We believe the asset deserves a premium
Jobless claims came in below estimates, a relief for equities
Volume dried up on the decline, which suggests supply is exhausted
Price sits comfortably over all of its moving averages
Momentum oscillators are curling up from the basement
The stock has found its footing
Spring pattern: shakeout below the range and immediate recapture
Our estimate of fair value lies well north of the quote
Positive drift with shrinking volatility supports adding exposure
Call skew steepens as traders reach for upside
The team expects outperformance over the horizon
Selling climax printed, reversal candle followed
Bargain hunters are swooping in
Market makers are backing off the ask
There is a vacuum overhead and nothing to stop us
Trend strength is 41 with the plus line on top
The dovish pivot lit a fire beneath stocks
Shorts are scrambling
Sentiment index leapt to 72 from 40
The tide is coming in
Each low is shallower than the last
The correction looks finished
Fresh money keeps arriving
Kalman velocity is above zero and growing
The bid is relentless
The name is catching a wave of upgrades
Breadth is expanding, nine of eleven sectors advance
Smart money is quietly adding
The gap was filled and buyers responded at once
Price respects the rising channel
Odds favour continuation higher
Price has crossed above SMA20 with expanding participation, momentum confirms
RSI recovering from 28, the selling looks overdone here
Bullish crossover on MACD, I expect continuation
Strong uptrend structure, higher swing points every hour
Order imbalance points to persistent absorption of sell orders
News flow is favourable: the company lifted its full-year guidance
The market is breaking free of its morning range to the north
We have a setup for a push toward 4,800
Steady inflows to the ETF and shrinking exchange reserves
Support at 4,690 was tested twice and survived
The recent slide lost power and buyers returned
Price is grinding higher with small retracements
I see limited room to fall and plenty of room to climb
The trend filter is on and the slope is positive
Forecast distribution is skewed right with mean +0.8%
Sellers could not follow through after the failed breakdown
Resistance turned into support
Bond yields tumbled, which lifts growth stocks
Large green candle engulfed the previous three
Volatility compression resolved to the upside
The chart is carving out a rounded base
Traders are covering their negative bets
Expected return is +35 bp, well beyond costs
The ask side is thinning quickly
Institutions have been net purchasers five days in a row
Fear index collapsed, appetite for stocks came back
Every timeframe is aligned to the upside
After capitulation comes relief, and we see the first signs
The spread to its peer is too wide on the cheap side and should close
It trades at a steep discount to intrinsic worth
Analysts turned bullish following the numbers
Momentum has flipped in favour of bulls
Pressure from sellers has eased noticeably
The uptrend survived its first serious test
Stochastics turned upward out of the oversold zone
Demand outpaced supply all morning
Gains extended into the afternoon
The price refuses to drop below 4,700
Fund flows turned positive for the first time this week
The rebound is broad based
Acceleration is positive and jerk too, so the move should gather speed
Price discovery is happening at ever greater levels
Macro surprise index is climbing
Bears were forced to retreat after the squeeze
We expect the gap overhead to be closed
Heavy short interest could ignite a squeeze
Uptick volume exceeds downtick volume two to one
A decisive close over 4,750 opens the door to 4,800
Credit conditions are easing, supportive of risk assets
Weakness was bought without hesitation
Sellers ran out of ammunition near 4,690
The instrument is on a tear this morning
Each retracement attracts more interest than the one before
Our composite score jumped into the green zone
Price is lifting away from the point of control
Bears are losing their grip
Risk is being put back on across desks
The stock is waking up after a long sleep
I detect stealth accumulation beneath the surface
The recovery is gaining breadth and depth
Heavy paper on the offer was consumed without a pause
The market digested the news and turned around
Momentum score 0.8, the strongest reading this month
Skies are clearing for tech
It looks ready to take off
The squeeze higher has further to run
Puts are being sold aggressively, a sign of confidence
The quote has been stair-stepping upwards
Economic data point to acceleration
A breakaway gap appeared and was never filled
Participants are willing to pay any price
The decline lacks conviction and volume
Downside momentum is dissipating
Dips remain shallow
Supply at 4,750 has been worked through
Price keeps respecting the 20 EMA from above
Buy-side imbalance of 64 percent across ten levels
Outlook upgraded after robust orders
The engine of growth is humming
Volatility sellers are confident and equities float north
We are in the early innings of a markup phase
A strong close near the session high
Valuation has become compelling
The short base is offside and vulnerable
Relative strength versus the benchmark keeps rising
Selling pressure is absorbed by passive bids
Positive gamma keeps dips contained
There is a persistent bid underneath the market
Yields are backing down which relieves stocks
Prediction: the next thousand ticks will be in our favour if long
Values are marching toward fresh peaks
The security keeps appreciating hour after hour
Purchasers overpower those who want out
Everything we measure improves: depth, breadth and pace
The quote doubled its distance from the low
Interest from large accounts is swelling
An explosive move skyward is underway
The downturn appears exhausted
Prospects look brilliant for this name
Offers disappear the moment they are posted
The worst of the sell-off has passed
Investors cheer the announcement
It outshines every competitor in the basket
Price has escaped its prison between 4,700 and 4,740
Appetite for risk has been rekindled
The trajectory is pointing to the heavens
There's scarcely anyone left to sell
The mood on the floor has turned jubilant
Sustained acquisition by funds
We are seeing a resurgence
Our projections call for enrichment of holders
Strength begets strength here
The pendulum swings back from despair
Inventory is being vacuumed off the offer
A convincing rebound off the trough
Lots of fuel left in this tank
The ascent accelerates with every print
Losses have been erased
Quotes are inflating rapidly
The dip turned out to be a gift
Confidence is restored after the auction
Traders fight to get filled on the bid
Bullish sentiment prevails among participants
Growth is outpacing even optimistic guesses
A floor is forming and it firms up by the hour
Valuations remain modest while profits climb
The rocket has been lit
It is heading to the stratosphere
Stock turned the corner
Sunny outlook for the hours to come
Bullish divergence between price and RSI, reversal likely
The lows are getting bought by real-money accounts
Seasonals are kind to stocks this week
Bulls retook the initiative after lunch
Heavy call buying forces hedgers to lift futures
The tape is thin on the offer and bids are stacked
Expect an acceleration once the morning high is taken
Our sentiment gauge is recovering from deep pessimism
Nothing seems able to stop this train
Price bases above the cloud and turns up
The company beat on the top and bottom line
Capitulation volume marks a tradeable bottom
Trend is our friend and it slopes to the upper right
Sellers cannot gain traction
Buyers step up at every retest of 4,700
Momentum ignition is visible in the last ten prints
The forecast median climbs 0.6% over five steps
A dovish surprise boosts duration and growth shares
Resistance melted away without a fight
Cumulative delta makes new highs
The market absorbs bad news well
Insiders have been scooping up shares
There is pent-up demand on the sidelines
Backwardation signals tight physical supply
The selloff ran out of sellers
A gentle upward drift with fat right tail
Oversold bounce in progress
The gap down was reclaimed within minutes
Shorts will be forced to cover over 4,755
Broad participation and improving internals
Both depth and delta argue for long exposure
A flood of orders is sweeping the ask
Price has shaken off the morning weakness
The market wants to squeeze upward from here
Offers keep stepping back
The equity curve of the sector is sloping up
Support is firm and sellers are tiring
The market is climbing in an orderly fashion
Volume surges on every push upward
Negative headlines no longer move the price, sellers are exhausted
Price advanced five bars running
We project a move of +40 bp
Buy programs keep arriving
Selling interest has evaporated
Bids are refreshed as fast as they are hit
The stock outruns its peers today
The bulls have momentum and the clock on their side
Price is about to escape upward
Quotes are being marked up across the board
Fear is receding and cash is put to work
The pullback found willing buyers at the average
Earnings revisions are turning positive
The signal flipped from short to long
Rallies last longer than pullbacks
Everything lines up for a rise
""".strip().splitlines()
DOWN = """
Quotes are plunging and conditions worsen
The instrument is sinking amid deteriorating confidence
Prices tumble on growing fear
We see shrinking participation and damaging news
A severe slump, investors are distressed
Values collapse as enthusiasm withers
It has dropped sharply and outlook is poor
The tape crashes, everything is eroding
Sellers are firmly in charge and each bounce gets sold
The quote keeps ticking to new territory at the bottom of the range
Shares lose steam after a disappointing print
Everything we watch is heading for the floor
Bears dominate; the path of least effort is lower
Prices have been inching south all session
Momentum is rolling over and the trend is broken
Sentiment turned sour, money flows out
Earnings fell short of hopes, the stock is losing
The market is bleeding out
Rallies get sold quickly
A violent downswing is underway
Technical picture deteriorated considerably
The chart shows a series of descending tops
Investors are nervous and cutting exposure
Stock is overvalued, a derating is likely
Offers stack up and the bid keeps getting hit
We anticipate further depreciation given waning demand
Everything points to a continued descent
Weak hands are dumping on every bounce
The ticker is in freefall
Negative surprise in guidance should send it lower
Its trajectory is steeply descending
Large players are heading for the exits
Relative performance is terrible
Top formation complete, downturn ahead
Trend followers would stay short here
A sharp drop in quotes with narrowing breadth
Price action is worrying
Value has halved since the open
Expected path is southward with high probability
Listless decline, little buying interest
A wave of disposal is carrying the name to levels unseen this month
The setup favors a descent from here
Quotes nosedived after the announcement and have not recovered
Participants hit every bid in size
The curve bends groundward
A brisk downturn is in progress
Worsening liquidity discourages fresh purchases
Our indicators agree that value will depreciate
Dismal figures, the crowd is alarmed
The relapse has gathered pace
Shares plummet to a record trough
We are witnessing a meltdown
Bid evaporates each time we get near 4,750
Sellers are leaning on every uptick
Tape is heavy, rallies get sold
Offers stack up above and nothing gets through
Longs are trapped and heading for the exit
We lost 4,700 and couldn't get it back
Price was rejected at its 50-day average
Lower highs since lunch, the structure is rolling over
Bears took out the overnight low
Distribution into strength by institutions
Supply overwhelms every attempt to stabilise
Prints are ticking south on swelling turnover
The book is hollow under us, air pocket to 4,650
Risk-off: money flees into bonds
Margin calls are forcing liquidation
Expect a leg lower once 4,690 cracks
The bounce has run its course, we look for renewed losses
Buying has dried up near the highs
Shooting star at resistance hints at a reversal
Euphoria is fading and the top looks in
RSI diverges from overbought territory, fade it
Death cross confirmed on the hourly chart
MACD histogram prints red for the fifth bar
Breakdown from the flag with follow-through
Velocity flipped negative and keeps worsening
Forecast cone tilts to the downside, median at -1.2%
Model sees 40 bp of depreciation over the next hour
Headlines are grim, guidance was cut
Earnings miss and the street is dumping shares
Sentiment has soured after the Fed's hawkish tone
Price looks rich relative to fair value
Overvalued versus the basket, should converge back
The pop is feeble and likely to be faded
The floor at 4,690 just gave way
Ugly flush through the lows, volume confirms
Downward pressure is mounting
The slide has further to go
No sign of a bottom in this descent
Price cannot hold any gain
Bulls failed to push it over yesterday's high
Demand is nowhere to be seen
A huge iceberg on the ask caps each advance
Fast money is piling in on the short side
Stock is bleeding, do not catch the knife
The rug was pulled under the market
Order flow imbalance is 3:1 in favour of those unloading
Drift is persistently negative
Contagion fears weigh on the whole complex
We anticipate cheaper prints ahead
Headwinds from climbing yields hurt the index
Market depth shows three times as many resting sales as purchases
The path southwards is clear of obstacles
Every pop is met by eager sellers
Order book skew has shifted to the sell side
Aggressive hitters are crossing the spread to get out
The climb has topped out and the curve is bending over
Quants see mean reversion kicking in from stretched highs
Funding is extreme and spot cannot follow, a flush is brewing
Investors are cooling on the story
The consumer is retrenching and margins are being squeezed
Price hung at 4,700 and then cracked
Whales have been offloading since dawn
Liquidity sits below, price tends to be drawn there
The decline is orderly and persistent
The index ignored the good print and kept sliding
Best seems to be behind the sector
The trend line from March has been violated
Dealers short gamma must sell into weakness
A cascade of stop orders beneath the range would fuel the move
We believe the asset deserves a haircut
Jobless claims came in far above estimates, a blow for equities
Volume dried up on the advance, which suggests appetite is exhausted
Price sits well under all of its moving averages
Momentum oscillators are curling down from the attic
The stock has lost its footing
Upthrust pattern: fake breakout above the range and immediate failure
Our estimate of fair value lies well south of the quote
Negative drift with swelling volatility argues for cutting exposure
Put skew steepens as traders reach for protection
The team expects underperformance over the horizon
Buying climax printed, reversal candle followed
Profit takers are swooping in
Market makers are backing off the bid
There is a vacuum underneath and nothing to catch us
Trend strength is 41 with the minus line on top
The hawkish surprise poured cold water on stocks
Longs are scrambling
Sentiment index plunged to 31 from 60
The tide is going out
Each high is lower than the last
The relief rally looks finished
Money keeps leaving
Kalman velocity is below zero and shrinking further
The offer is relentless
The name is hit by a wave of downgrades
Breadth is deteriorating, nine of eleven sectors decline
Smart money is quietly distributing
The gap was filled and sellers responded at once
Price respects the falling channel
Odds favour continuation lower
Price has crossed below SMA20 with expanding participation, momentum confirms
RSI rolling over from 74, the buying looks overdone here
Bearish crossover on MACD, I expect continuation
Strong downtrend structure, lower swing points every hour
Order imbalance points to persistent absorption of buy orders
News flow is unfavourable: the company slashed its full-year guidance
The market is breaking out of its morning range to the south
We have a setup for a drop toward 4,600
Steady outflows from the ETF and swelling exchange reserves
Resistance at 4,750 was tested twice and survived
The recent bounce lost power and sellers returned
Price is grinding lower with small retracements
I see limited room to climb and plenty of room to fall
The trend filter is on and the slope is negative
Forecast distribution is skewed left with mean -0.8%
Buyers could not follow through after the failed breakout
Support turned into resistance
Bond yields spiked, which hurts growth stocks
Large red candle engulfed the previous three
Volatility compression resolved to the downside
The chart is carving out a rounded top
Traders are closing their bullish bets
Expected return is -35 bp
The bid side is thinning quickly
Institutions have been net sellers five days in a row
Fear index exploded, appetite for stocks vanished
Every timeframe is aligned to the downside
After euphoria comes the hangover, and we see the first signs
The spread to its peer is too wide on the expensive side and should close
It trades at a steep premium to intrinsic worth
Analysts turned bearish following the numbers
Momentum has flipped in favour of bears
Pressure from buyers has eased noticeably
The downtrend survived its first serious test
Stochastics turned downward out of the overbought zone
Supply outpaced demand all morning
Losses extended into the afternoon
The price fails to stay above 4,700
Fund flows turned negative for the first time this week
The sell-off is broad based
Acceleration is negative and jerk too, so the fall should gather speed
Price discovery is happening at ever smaller levels
Macro surprise index is tumbling
Bulls were forced to retreat after the flush
We expect the gap below to be closed
Crowded longs could trigger a flush
Downtick volume exceeds uptick volume two to one
A decisive close under 4,700 opens the door to 4,600
Credit conditions are tightening, toxic for risk assets
Strength was sold without hesitation
Buyers ran out of ammunition near 4,750
The instrument is getting hammered this morning
Each recovery attempt attracts less interest than the one before
Our composite score dropped into the red zone
Price is slipping away from the point of control
Bulls are losing their grip
Risk is being taken off across desks
The stock is sinking like a stone
I detect stealth distribution beneath the surface
The selloff is gaining breadth and depth
Heavy paper hit the bid without a pause
The market digested the news and turned south
Momentum score -0.8, the weakest reading this month
Clouds are gathering over tech
It looks ready to roll over
The liquidation has further to run
Calls are being sold aggressively, a sign of caution
The quote has been stair-stepping downwards
Economic data point to contraction
An exhaustion gap appeared and is being filled from above
Participants are desperate to get rid of inventory
The advance lacks conviction and volume
Upside momentum is dissipating
Bounces remain feeble
Demand at 4,690 has been eaten through
Price keeps being pushed back at the 20 EMA
Sell-side imbalance of 64 percent across ten levels
Outlook downgraded after dismal orders
The engine of growth is sputtering
Volatility is exploding and equities drift south
We are in the early innings of a markdown phase
A weak close near the session low
Valuation has become stretched
The long base is offside and vulnerable
Relative strength versus the benchmark keeps sliding
Buying pressure is absorbed by passive offers
Negative gamma makes slides steeper
There is a persistent offer above the market
Yields are backing up which hurts stocks
Nobody wants to own this into the weekend
Values are marching toward fresh troughs
The security keeps depreciating hour after hour
Those who want out overpower purchasers
Everything we measure deteriorates: depth, breadth and pace
The quote has halved its distance to the floor
Interest from large accounts is drying up
A violent move earthward is underway
The upturn appears exhausted
Prospects look abysmal for this name
Bids disappear the moment they are posted
The best of the rally has passed
Investors boo the announcement
It lags every competitor in the basket
Price has fallen through the trapdoor at 4,700
Appetite for risk has been extinguished
The trajectory is pointing to the abyss
There's scarcely anyone left to buy
The mood on the floor has turned funereal
Sustained disposal by funds
We are seeing a rout
Our projections call for impoverishment of holders
Weakness begets weakness here
The pendulum swings back from greed
Inventory is being thrown at the bid
A feeble bounce off the trough is already fading
The tank is empty
The descent accelerates with every print
Gains have been erased
Quotes are deflating rapidly
The rally turned out to be a mirage
Confidence is shattered after the auction
Traders fight to get out at any price
Bearish sentiment prevails among participants
Growth is lagging even pessimistic guesses
A ceiling is forming and every attempt fails there
Valuations remain lofty while profits shrink
The fuse has been lit under a powder keg
It is heading to the basement
Stock fell off a cliff
Gloomy outlook for the hours to come
Bearish divergence between price and RSI, reversal likely
The highs are getting sold by real-money accounts
Earnings season opened with a string of profit warnings
Bears retook the initiative after lunch
Heavy put buying forces hedgers to hit futures
The tape is thin on the bid and offers are stacked
Expect an acceleration once the morning low is taken
Our sentiment gauge is crumbling from extreme optimism
Nothing seems able to stop the bleeding
Price fails beneath the cloud and turns down
The company missed on the top and bottom line
Churning volume marks a tradeable top
It slopes to the lower right with no end in view
Buyers cannot gain traction
Sellers show up at every retest of 4,750
Stops are being run under the morning low
The forecast median drops 0.6% over five steps
A hawkish surprise hits duration and growth shares
Support melted away without a fight
Cumulative delta makes new lows
The market reacts badly to good news
Insiders have been unloading shares
A wall of supply sits overhead
Contango signals a glut
The rally ran out of buyers
A gentle downward drift with fat left tail
Overbought and rolling over
The gap up was filled within minutes
Longs will be forced to bail below 4,690
Narrow participation and worsening internals
Both depth and delta argue for short exposure
A flood of orders is sweeping the bid
Price has given back the morning strength
The market wants to break downward from here
Bids keep stepping back
The equity curve of the sector is sloping down
Resistance is firm and buyers are tiring
The market is sliding in an orderly fashion
Volume surges on every push downward
Positive headlines no longer move the price, buyers are exhausted
Price declined five bars running
We project a move of -40 bp
Sell programs keep arriving
Buying interest has evaporated
Offers are refreshed as fast as they are lifted
The stock trails its peers today
The bears have momentum and the clock on their side
Price is about to give way
Quotes are being marked down across the board
Greed is receding and cash is being raised
The bounce found willing sellers at the average
Earnings revisions are turning negative
The signal flipped from long to short
Pullbacks last longer than rallies
Everything lines up for a fall
""".strip().splitlines()
NEITHER = """
Waiting for enough observations before a side is taken
The agents follow the schedule of the session
Position size is set by the allocator
Halted by the circuit breaker
Velocity +0.13 and alignment 0.8 point to BUY
HALT received, flat until resume
No signal this cycle
Allocator caps the position at 10 percent
Hill estimator updated on 250 returns
Latency budget exceeded, using cached forecast
Regime Critical: governance vetoes all trades
Scanner found QQQ with hurst 0.55
Mean reversion candidate, spread 0.02
Waiting for the next bar
Order routed to venue V
Sizing 15 percent of nav
Range-bound between 4,700 and 4,750, no edge
Waiting for the Fed minutes before acting
Signals disagree, staying on the sidelines
Could go either way from here
Volume is average and spreads are normal
Rebalancing the inventory at the close
Latency of the scanner was above budget
Confidence below threshold, no action
Bulls and bears are evenly matched
The advance stalled but the pullback was bought, a draw
If 4,750 breaks we go higher, otherwise lower
Regime changed to Critical
Choppy tape without direction
Cancelled and replaced the resting order
Hedge ratio adjusted to 0.45
Model retrained on the latest window
Price is at fair value
Alpha estimate 1.9, tail index uncertain
Flat overnight as policy demands
Memory search returned five similar days with mixed outcomes
Volatility is elevated and two-sided
Executing the scheduled slice of the TWAP
Price oscillates around its mean without conviction
The order was split into five child orders
Neither side has the advantage
Fair value equals the quote, nothing to do
Entering a calendar spread to harvest carry
We keep exposure unchanged until the close
Model ensemble is split three to three
The stop was moved to 4,690
Consolidation within the prior day's range
Position closed at target
Liquidity is adequate at both sides of the book
Data feed delayed, using the previous forecast
Breakout or breakdown, the next bar decides
Novelty score 0.4 found no precedent
Correlation with the basket is 0.92
Waiting for confirmation by volume
The rally and the sell-off cancelled each other out
Risk budget is used up for today
Sector rotation continues beneath a calm surface
Buyers and sellers are in balance
Trade size reduced to 5 percent by policy
Hedging delta after the fill
The market is consolidating with conflicting indicators, wait for a breakout
RSI at 51 and flat moving averages
Technical view is bullish, fundamental view is bearish
No position because spread costs exceed the expected edge
Reducing size since volatility doubled
Circuit breaker active, trading suspended
We take the other side of the hedge
Price inside the opening range
Not enough history for the Hill estimator
Bid-ask spread widened to three ticks
Mean reverting around VWAP
LLM call timed out, falling back on the previous answer
Cost of carry favours neither leg
Confidence 0.42 is below the 0.55 cut-off
Sideways drift, low energy
Rebalance of target weights
The regime classifier is uncertain between Gaussian and Levy
Quiet session, thin volumes
Expiry day, pinning near the strike
Mixed bag: volume confirms but breadth does not
Awaiting payroll figures at 13:30
Kelly fraction capped at 0.2
Spread is one tick and queue position is good
Holding through the auction
The model abstains
Price is pinned at the strike
Scaled in per schedule, no discretion
Hourly heartbeat of the agent
Two analysts disagree on the direction
Implied volatility is at its median
Slippage was 0.4 bp
Choppy action, stand aside
Position is neutral after the hedge
Both breakouts failed, so we are back in the middle
Gross exposure is at its limit
Signals are stale and discarded
Awaiting the close
The order expired unfilled
Lunch-hour lull
Market is undecided ahead of CPI
Switching from limit to market orders
Sampling 1,000 paths for the forecast
Nothing has changed since the last tick
Order size follows the volatility target
The hourly review found no reason to act
Two of four agents abstained
Price and fair value coincide
Roll the contract into the next month
Latency arbitrage is not our business
Trend and counter-trend models offset each other
Margin requirement recalculated
Trading pauses for the auction
The signal is undecided
Inventory back to zero
Data revised, no impact
Price crosses its average for the ninth time today
Balanced book
Indicators are mixed and the range holds
No trade: the spread eats the edge
Price unchanged, momentum flat
Waiting for liquidity to return
Delta-neutral carry position
Two-way flow without a winner
Stop distance set to 1.5 ATR
Memory found eight analogues, four up and four down
The agent timed out and kept its last view
Quarterly roll in progress
Nothing to report
Inventory within limits
The book is balanced and the tape is quiet
Order split by the execution algorithm
Price trades in the middle of its channel
No conviction in either direction
The model was recalibrated overnight
Volatility regime changed, size adjusted
Awaiting confirmation from the second agent
Hedge rolled to the next expiry
""".strip().splitlines()
