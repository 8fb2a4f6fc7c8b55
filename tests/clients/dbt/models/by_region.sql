select r.name as region, count(*) as customers, sum(c.balance) as balance
from {{ source('shop', 'customer') }} c join {{ source('shop', 'region') }} r on r.id = c.region_id
group by r.name
